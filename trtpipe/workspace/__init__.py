"""A project on this machine: its files, its store, its state, and what it is allowed to use.

A command opens a workspace before it plans anything. Nothing in this room runs a step.
"""
