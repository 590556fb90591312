"""Metrics: comparing outputs with a reference, thresholds and verdicts, timing statistics.

Belongs here: pure functions over arrays and records. Loading models, running them and reading files are elsewhere.
"""
