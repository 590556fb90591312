"""Lowers quantize and dequantize layers to QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from trtpipe.layers.scope import Scope
from trtpipe.layers.values import dtype_of
from trtpipe.spec.network.quantization import Dequantize, Quantize

_BLOCKED = "[1, 32]"


def quantize(layer: Quantize, at: Scope) -> list[str]:
    """QuantizeLinear; the type of its zero point determines the output's type."""
    return [_emit(layer, at, "QuantizeLinear", at.input.dtype, dtype_of(layer.to_type))]


def dequantize(layer: Dequantize, at: Scope) -> list[str]:
    """DequantizeLinear; the type of its scale determines the output's type."""
    return [_emit(layer, at, "DequantizeLinear", layer.to_type, at.input.dtype)]


def _emit(layer: Quantize | Dequantize, at: Scope, operator: str, scaled: str, quantized: str) -> str:
    import numpy as np

    dims, axis, block = _scale_dims(layer, at)
    scale = at.weights("scale", dims, scaled)
    zero = at.weights("zero_point", dims, quantized)
    if zero is None:
        zero = at.constant(np.zeros(dims, np.int8), "zero_point", quantized)
    return at.emit(operator, at.input.name, scale, zero, axis=axis, block_size=block)


def _scale_dims(layer: Quantize | Dequantize, at: Scope) -> tuple[tuple[int, ...], int | None, int | None]:
    """The scale's dims, the axis, and the block length; None where it does not apply."""
    x = at.input
    rank = at.rank(x)
    if layer.block_shape is not None:
        return _block_dims(layer, at, rank)
    own = at.dims_of_weights(layer.scale, "scale")
    if own == () or (own == (1,) and layer.axis is None):
        return own if own == () else (), None, None
    axis = at.axis(layer.axis or 0, rank, "axis")
    size = at.size(x, axis, f"axis {axis}")
    return (size,), axis, None


def _block_dims(layer: Quantize | Dequantize, at: Scope, rank: int) -> tuple[tuple[int, ...], int, int]:
    x = at.input
    blocks = layer.block_shape or ()
    long = [axis for axis, size in enumerate(blocks) if size != 1]
    if len(blocks) != rank or len(long) != 1:
        at.refuse(
            f"has block_shape {list(blocks)} for '{x.name}' {x.text}",
            f"give one number per axis, 1 on all but one ({_BLOCKED}): ONNX has no other blocks", "block_shape",
        )  # fmt: skip
    axis = long[0]
    dims = [at.size(x, one, f"axis {one}") for one in range(rank)]
    if dims[axis] % blocks[axis]:
        at.refuse(
            f"has blocks of {blocks[axis]} on axis {axis} of '{x.name}' {x.text}",
            "make them divide it",
            "block_shape",
        )
    dims[axis] //= blocks[axis]
    return tuple(dims), axis, blocks[axis]
