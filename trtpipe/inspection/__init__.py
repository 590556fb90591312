"""Describes models and engine files, compares two of them (`diff/`), and drafts a first spec for a model.

Belongs here: descriptions computed from data that was already read. Nothing here builds, runs or writes.
"""
