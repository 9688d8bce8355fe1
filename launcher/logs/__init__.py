"""Log files as they are read: records, merging, following."""
