"""Running models: inputs by name in, outputs by name out, by ONNX Runtime on the CPU or by an engine on a GPU.

Belongs here: inference, and what validation, readback, benchmarks and comparisons make of it.
"""
