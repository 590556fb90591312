"""Reduces or anonymizes a model while it keeps failing in the same way, for `debug reduce` and `debug repro`.

Pure functions: the caller runs the trials and passes in their results.
"""
