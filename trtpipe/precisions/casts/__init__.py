"""How a graph comes to compute in a floating-point type: which nodes, with which casts. Knows no precision by name.

Strongly typed TensorRT never promotes: every tensor of the graph must be of the type that its layer computes in. So a
precision is a decision per node (`type_plan`), checked against the weights (`ranges`), then carried out (`rewrite`).
"""
