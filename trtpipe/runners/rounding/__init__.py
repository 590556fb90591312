"""How much rounding changes a model's outputs: copies of the model with random errors, and what they come to.

Judging a precision or an engine by that belongs to validation and comparison.
"""
