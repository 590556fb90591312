"""Stores: artifacts by digest, traces by key, on this machine and elsewhere.

Belongs here: keeping, fetching, checking and collecting what steps yielded. Where a project's store is, and whom it
believes, is for `workspace/`.
"""
