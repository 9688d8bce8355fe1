"""The memory server: keeps texts durably and finds them again by significance and meaning."""
