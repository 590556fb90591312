"""Stores: artifacts by digest, traces by key. One file a kind; the file's name is the kind's public name."""
