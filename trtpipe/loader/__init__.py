"""Loads specs from files: YAML with line numbers, the project around it, and JSON Schemas for editors.

Reads text and directories only; independent of ONNX, TensorRT and of what a pipeline will do.
"""
