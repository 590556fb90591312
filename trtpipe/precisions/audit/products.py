"""The operand types in which the convolutions and matrix products of TensorRT's network compute.

A quantized operand comes from a DEQUANTIZE layer, perhaps by way of layers that only move its elements; TensorRT fuses
all of that into the product. Pure data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from trtpipe.precisions.audit.layers import Layer

_PRODUCTS = frozenset({"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM"})
_MOVES = frozenset({"CAST", "SHUFFLE", "UNSQUEEZE", "SQUEEZE", "IDENTITY"})
_NARROW = frozenset({"int8", "int4", "float8e4m3fn", "float4e2m1"})


def product_types(layers: Sequence[Layer]) -> Counter[str]:
    """Counts products by operand type: `int8`, `int4 weights` when the other operand is float, or `float16`."""
    known = [layer for layer in layers if layer.outputs and not layer.fused]
    makers = {output.name: layer for layer in known for output in layer.outputs}
    return Counter(_computed_on(layer, makers) for layer in known if layer.kind in _PRODUCTS)


def _computed_on(layer: Layer, makers: Mapping[str, Layer]) -> str:
    narrow = [found for name in layer.inputs[:2] if (found := _dequantized_from(name, makers))]
    if len(narrow) == 2:
        return narrow[0]
    return f"{narrow[0]} weights" if narrow else layer.outputs[0].dtype


def _dequantized_from(name: str, makers: Mapping[str, Layer]) -> str:
    """The narrow type that a tensor is dequantized from; empty when it is not."""
    layer = makers.get(name)
    while layer is not None and layer.kind in _MOVES and layer.inputs:
        layer = makers.get(layer.inputs[0])
    if layer is None or layer.kind != "DEQUANTIZE" or not layer.inputs:
        return ""
    source = layer.inputs[0]
    made = makers[source].outputs if source in makers else ()
    dtype = next((output.dtype for output in made if output.name == source), "")
    return dtype if dtype in _NARROW else ""
