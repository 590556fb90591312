"""Canonical ONNX, the one intermediate form: reading, checking, legalizing, summarising and writing it.

Data to data: nothing here knows TensorRT, specs, stores or where a model came from.
"""
