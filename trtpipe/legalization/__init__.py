"""Rewrites operators that TensorRT rejects or misreads into equivalent forms that it handles correctly.

Belongs here: rewrites of ONNX graphs during import. Reading, checking and writing ONNX is in `canonical/`.
"""
