"""Parts of the `pytorch` frontend: the archive, the program's description, and the conversion."""
