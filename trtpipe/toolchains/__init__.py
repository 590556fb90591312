"""Toolchains: which TensorRT there is, and the process in which it builds an engine."""
