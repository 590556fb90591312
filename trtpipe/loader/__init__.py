"""From files to specs: YAML with its marks, the project around it, and JSON Schemas for editors.

Reads text and directories; knows nothing of ONNX, TensorRT or what a pipeline will do.
"""
