"""What a file, a cell or an engine is, and how two differ: `inspect`, `diff` and `which`."""
