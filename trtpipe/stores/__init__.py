"""Stores: artifacts by digest and traces by key, on this machine and elsewhere.

This room keeps, fetches, verifies and garbage-collects the results of steps. Where a project's store is, and which
other stores it trusts, is decided in `workspace/`.
"""
