"""Canonical ONNX, the one form that every model is brought into: reading, checking, summarising and writing it.

Belongs here: what is true of any ONNX graph. Rewrites for TensorRT's sake are in `legalization/`; nothing here knows
TensorRT, specs, stores or where a model came from.
"""
