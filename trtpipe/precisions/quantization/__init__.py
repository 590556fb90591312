"""How a graph comes to compute on quantized tensors: which ones, with which scales, and where Q and DQ stand.

Explicit quantization: QuantizeLinear and DequantizeLinear say what is narrow, and TensorRT fuses them into the layers
around. Runs on a graph in its source's float types; `casts` then gives the rest its type. Knows no precision by name.
"""
