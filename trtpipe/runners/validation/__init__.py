"""Measures typed models and engines against a reference, on the data of the spec and at the corners of its profiles.

Only outputs are looked at; tensors inside a model belong to comparison, and thresholds to `metrics`.
"""
