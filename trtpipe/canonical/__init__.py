"""Canonical ONNX, the one form that every model is converted to: reading, checking, summarising and writing it.

Belongs here: code that applies to any ONNX graph. Rewrites for TensorRT are in `legalization/`; nothing here depends on
TensorRT, specs, stores or the format that a model came from.
"""
