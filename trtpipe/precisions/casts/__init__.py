"""Converts a graph to a floating-point type: which nodes compute in it, and where casts are inserted.

Strongly typed TensorRT never promotes types: every tensor of the graph must have the type that its layer computes in.
So a precision is a decision for each node (`type_plan`), checked against the weights (`ranges`) and then carried out
(`rewrite`). No code here depends on a particular precision.
"""
