"""Writing specs: a first spec, export, migration of calibration caches, data previews, a matrix for CI.

Checking a spec that exists is in `checks/`.
"""
