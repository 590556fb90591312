"""Executors: where and how an action runs. One module for each kind of executor.

Which actions run, and when, is decided in `plan/`, not here.
"""
