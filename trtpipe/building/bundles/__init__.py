"""Bundles in a build: which cells their members are, their validation as a whole, and what the lockfile says of them.

A bundle is complete when every member has a delivered cell for every target and the whole meets its thresholds: then
its results are written to `build/BUNDLE/`, and it has one entry in the lockfile for all of its members.
"""
