"""Keeping a store small: determines what must be kept when it is garbage-collected.

The removal itself is in `stores/`.
"""
