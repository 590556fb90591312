"""The reports of a build: gathered from what was delivered, and put into place."""
