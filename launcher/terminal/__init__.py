"""How things look in a terminal: words, glyphs, tables; knows nothing of processes or sockets."""
