"""Calibration caches of other tools: reading them, and matching their names with the tensors of a model.

A cache file is read as untrusted input, its entries are matched with the names of a model and converted to our own
scales; entries that cannot be used are reported by name. Independent of stages and commands; imports neither onnx nor
numpy, and uses nothing of a graph but its names.
"""
