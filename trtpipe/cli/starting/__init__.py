"""What is decided before the command line is parsed."""
