"""Rewrites that turn what TensorRT cannot take, or misreads, into an equal form that it takes.

Belongs here: rewrites of ONNX graphs at import. Reading, checking and writing ONNX is in `canonical/`.
"""
