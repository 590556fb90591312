"""Mixed-precision search: assigns a precision to each unit of nodes, estimates costs, and searches assignments.

The caller measures the error of each typed model and passes it in. Independent of ONNX, stores and processes.
"""
