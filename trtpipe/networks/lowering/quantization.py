"""Quantize, dequantize and dynamic quantize layers, whose scales are tensors.

Quantizing rounds to nearest, halves to even, and saturates, as ONNX does. A zero point is always zero in TensorRT; it
is written explicitly, because in ONNX its type defines the quantized type.
"""

from __future__ import annotations

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.layers.values import Value
from trtpipe.networks.lowering.scope import LayerScope, dtype_of

_DOMAIN = "trt"
_POWERS = "float8_e8m0fnu"
_WIDTH = {"float32": 32, "float16": 16, "bfloat16": 16}


def quantize(at: LayerScope) -> list[str]:
    """QuantizeLinear, in the wider of the types of input and scale."""
    x, scale = at.read(0), at.read(1)
    dtype = x.dtype if _WIDTH.get(x.dtype, 0) >= _WIDTH.get(scale.dtype, 0) else scale.dtype
    axis, block = _along(at, x, scale)
    wide = at.cast(x.name, x.dtype, dtype)
    factor = _scale(at, at.cast(scale.name, scale.dtype, dtype), scale)
    zero = _zero(at, scale, dtype_of(at.text("to_type")))
    return [at.emit("QuantizeLinear", wide, factor, zero, axis=axis, block_size=block)]


def dequantize(at: LayerScope) -> list[str]:
    """DequantizeLinear, in the scale's type, and a cast where the output has another; mxfp8 has its own operator."""
    x, scale = at.read(0), at.read(1)
    axis, block = _along(at, x, scale)
    made = dtype_of(at.text("to_type"))
    if scale.dtype in (_POWERS, "uint8"):
        attributes = {"axis": axis, "block_size": block, "output_dtype": number_of_dtype(made)}
        return list(at.emit_node("TRT_MXFP8DequantizeLinear", (x.name, scale.name), 1, _DOMAIN, attributes))
    zero = _zero(at, scale, x.dtype)
    factor = _scale(at, scale.name, scale)
    wide = at.emit("DequantizeLinear", x.name, factor, zero, axis=axis, block_size=block)
    return [at.cast(wide, scale.dtype, made)]


def _scale(at: LayerScope, name: str, scale: Value) -> str:
    """A scale of one element applies to the whole tensor."""
    if scale.dims == (1,):
        return at.emit("Reshape", name, at.constant([], "scalar"))
    return name


def _along(at: LayerScope, x: Value, scale: Value) -> tuple[int | None, int | None]:
    """The axis of a scale and its block length; None where it does not apply."""
    dims, sizes = at.dims(scale), at.dims(x)
    if len(dims) == 0 or dims == (1,):
        return None, None
    if len(dims) == 1:
        axis = at.whole("axis")
        return (axis if axis >= 0 else at.axis(0, len(sizes))), None
    blocks = lengths_of_blocks(at, x, scale)
    long = [axis for axis, block in enumerate(blocks) if block != 1]
    if len(long) != 1:
        at.refuse(f"has blocks {blocks} for '{x.name}' {x.text}: ONNX has blocks along one axis only")
    return long[0], blocks[long[0]]


def lengths_of_blocks(at: LayerScope, x: Value, scale: Value) -> list[int]:
    """The length of a block on each axis: from the layer, or the ratio of the input's and the scale's sizes."""
    given = at.parsed.attributes.get("block_shape")
    if isinstance(given, tuple) and given and all(isinstance(one, int) and one > 0 for one in given):
        return [int(one) for one in given if isinstance(one, int)]
    blocks = []
    for axis in range(at.rank(x)):
        many, few = at.dims(x)[axis], at.dims(scale)[axis]
        if isinstance(many, int) and isinstance(few, int) and few:
            blocks.append(many // few)
        elif many is None and few is None:
            blocks.append(1)
        else:
            at.refuse(f"has blocks of unknown length on axis {axis} of '{x.name}' {x.text}")
    return blocks


def _zero(at: LayerScope, scale: Value, dtype: str) -> str:
    """The third input, or zeros like the scale."""
    import numpy as np

    given = at.maybe(2)
    if given is not None:
        return _scale(at, at.cast(given.name, given.dtype, dtype), given)
    dims = () if scale.dims == (1,) else at.dims(scale)
    if all(isinstance(dim, int) for dim in dims):
        shape = [dim for dim in dims if isinstance(dim, int)]
        return at.constant(np.zeros(shape, np.int8), "zero_point", dtype)
    first = at.constant(np.zeros((), np.int8), "zero_point", dtype)
    return at.emit("Expand", first, at.emit("Shape", scale.name))


def dynamic_quantize(at: LayerScope) -> list[str]:
    """TensorRT's own operators, emulated in float32: quantized elements, and a scale for each block."""
    x, target = at.read(0), dtype_of(at.text("to_type"))
    if at.parsed.attributes.get("block_shape"):
        at.refuse(f"has block_shape {at.sizes('block_shape')}, which has no ONNX form")
    along = {"axis": at.whole("axis"), "block_size": at.whole("block_size")}
    if target == "float4_e2m1fn":
        operator, inputs = "TRT_FP4DynamicQuantize", [x.name, at.read(1).name]
        attributes = {**along, "scale_type": number_of_dtype(dtype_of(at.text("scale_type")))}
    else:
        operator, inputs = "TRT_MXFP8DynamicQuantize", [x.name]
        attributes = {**along, "output_dtype": number_of_dtype(target)}
    return list(at.emit_node(operator, inputs, 2, _DOMAIN, attributes))
