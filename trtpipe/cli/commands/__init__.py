"""The arguments and options of each command, one module per group; importing a module registers its commands."""
