"""What the convolutions and matrix products of TensorRT's network compute on: the types of their operands.

A quantized operand comes from a DEQUANTIZE layer, perhaps by way of layers that only move its elements; TensorRT fuses
all of that into the product. Pure data: layers are records of `name`, `type`, `inputs` and `outputs`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_PRODUCTS = frozenset({"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM"})
_MOVES = frozenset({"CAST", "SHUFFLE", "UNSQUEEZE", "SQUEEZE", "IDENTITY"})
_NARROW = frozenset({"int8", "int4", "float8e4m3fn", "float4e2m1"})


def product_types(layers: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How many products compute on what: `int8`, `int4 weights` where the other operand is float, or `float16`."""
    known = [layer for layer in layers if layer.get("outputs") and not isinstance(layer["outputs"], str)]
    makers = {output.get("name", ""): layer for layer in known for output in layer["outputs"]}
    return Counter(_computed_on(layer, makers) for layer in known if _kind(layer) in _PRODUCTS)


def _kind(layer: Mapping[str, Any]) -> str:
    return str(layer.get("type", "")).upper().rsplit(".", 1)[-1]


def _computed_on(layer: Mapping[str, Any], makers: Mapping[str, Mapping[str, Any]]) -> str:
    operands = layer.get("inputs", ())[:2]
    narrow = [found for name in operands if (found := _dequantized_from(name, makers))]
    if len(narrow) == 2:
        return narrow[0]
    return f"{narrow[0]} weights" if narrow else str(layer["outputs"][0]["dtype"])


def _dequantized_from(name: str, makers: Mapping[str, Mapping[str, Any]]) -> str:
    """The narrow type that a tensor is dequantized from; empty when it is not."""
    layer = makers.get(name)
    while layer is not None and _kind(layer) in _MOVES and layer.get("inputs"):
        layer = makers.get(layer["inputs"][0])
    if layer is None or _kind(layer) != "DEQUANTIZE" or not layer.get("inputs"):
        return ""
    source = layer["inputs"][0]
    made = makers.get(source, {}).get("outputs", ())
    dtype = next((str(output["dtype"]) for output in made if output.get("name") == source), "")
    return dtype if dtype in _NARROW else ""
