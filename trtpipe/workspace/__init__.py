"""A project on this machine: its files, its store, its state, and what of it may be used.

Belongs here: what a command opens before it plans anything. Nothing in this room runs a step.
"""
