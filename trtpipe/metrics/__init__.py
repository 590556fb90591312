"""Comparing outputs with a reference: metrics, thresholds, verdicts. Knows no model, no runner and no file."""
