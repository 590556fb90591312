"""Numbers about numbers: what a tensor holds, what a series of times comes to, and whether two differ."""
