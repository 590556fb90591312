"""What the `pytorch` frontend is made of: the archive, what a program says of itself, and the conversion."""
