"""Runs bundles: their members in the order of the edges, or as the project's driver calls them."""
