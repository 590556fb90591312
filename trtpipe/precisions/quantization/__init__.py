"""Quantizes a graph: which tensors, with which scales, and where QuantizeLinear and DequantizeLinear (Q and DQ) go.

This is explicit quantization: Q and DQ mark what is narrow, and TensorRT fuses them into the layers around them. It
works on a graph in the source's float types; `casts` then converts the rest. No code here depends on a particular
precision.
"""
