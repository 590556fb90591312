"""Running models: inputs by name in, outputs by name out, with ONNX Runtime on the CPU or an engine on a GPU.

This room contains inference, and validation, readback, benchmarks and comparisons, which are built on it.
"""
