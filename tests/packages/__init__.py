"""Packages of engines: their index, how they are written, and what is refused of others."""
