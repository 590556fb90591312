"""The job of writing specs: a first spec, export, migration of calibration caches, a look at data, a matrix for CI.

Does not belong here: checking a spec that is written, which is in `checks/`.
"""
