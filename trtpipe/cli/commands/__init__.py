"""What each command takes, a module for a kind; importing one registers its commands."""
