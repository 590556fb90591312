"""Which engine of a package a machine runs."""
