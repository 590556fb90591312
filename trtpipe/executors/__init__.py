"""Executors: where and how an action runs, one module for each kind.

Does not belong here: which actions run, and when. That is decided in `plan/`.
"""
