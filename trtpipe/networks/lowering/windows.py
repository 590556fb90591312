"""Pooling with its output size rounded up, which differs from ONNX's `ceil_mode`.

ONNX omits a last window that starts in the padding or beyond the input; TensorRT keeps it, as the shapes of its tensors
show. So the padding is added first, with as much at the end as the last window can reach, and the result is pooled
without rounding. TensorRT does not define the result of a window that contains only padding; here its maximum is the
lowest number of the type and its average NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trtpipe.networks.lowering.scope import LayerScope

if TYPE_CHECKING:
    from trtpipe.canonical.summary import Dim


def may_reach_beyond(at: LayerScope) -> bool:
    """Whether rounding up adds windows that ONNX omits, or whose elements it may count differently."""
    if at.parsed.attributes.get("padding_mode") != "EXPLICIT_ROUND_UP":
        return False
    before, after, window, stride = (
        at.sizes(name) or () for name in ("pre_padding", "post_padding", "window_size_nd", "stride_nd")
    )
    sizes = at.dims(at.read(0))[-len(window) :]
    return any(map(_reaches_beyond, sizes, before, after, window, stride))


def _reaches_beyond(size: Dim, before: int, after: int, window: int, stride: int) -> bool:
    if stride == 1:
        return False
    if not isinstance(size, int):
        return True
    room = size + before + after - window
    last = -(-room // stride) * stride
    return room % stride != 0 and (before + after > 0 or last >= size)


def pooling(at: LayerScope) -> list[str]:
    """MaxPool and AveragePool of the padded input, rounded up."""
    kind = at.member("type")
    if kind == "max":
        return [_maximum(at)]
    average = _average(at)
    if kind == "average":
        return [average]
    share, dtype = at.number("blend_factor"), at.read(0).dtype
    largest = at.emit("Mul", _maximum(at), at.constant(1 - share, "rest", dtype))
    return [at.emit("Add", largest, at.emit("Mul", average, at.constant(share, "share", dtype)))]


def _pool(at: LayerScope, operator: str, tensor: str) -> str:
    return at.emit(operator, tensor, kernel_shape=at.sizes("window_size_nd"), strides=at.sizes("stride_nd"))


def _padded(at: LayerScope, tensor: str, value: float) -> str:
    """A tensor with padding around it."""
    before, after = (at.sizes(name) or () for name in ("pre_padding", "post_padding"))
    if not any((*before, *after)):
        return tensor
    return _extended(at, tensor, before, after, value, "pads")


def _reached(at: LayerScope, tensor: str, value: float) -> str:
    """A padded tensor extended at the end by stride - 1, which turns rounding down into rounding up."""
    strides = at.sizes("stride_nd") or ()
    return _extended(at, tensor, [0] * len(strides), [one - 1 for one in strides], value, "reach")


def _extended(
    at: LayerScope, tensor: str, before: Sequence[int], after: Sequence[int], value: float, hint: str
) -> str:
    pads = at.constant([0, 0, *before, 0, 0, *after], hint)
    return at.emit("Pad", tensor, pads, at.constant(value, f"{hint}_around", at.read(0).dtype))


def _maximum(at: LayerScope) -> str:
    padded = _padded(at, at.read(0).name, -math.inf)
    return _pool(at, "MaxPool", _reached(at, padded, -math.inf))


def _average(at: LayerScope) -> str:
    """The sum over a window divided by its number of elements, with or without padding."""
    x = at.read(0)
    ones = at.emit("Expand", at.constant(1, "one", x.dtype), at.emit("Shape", x.name))
    counted = 0.0 if at.flag("average_count_excludes_padding") else 1.0
    made, share = (
        _pool(at, "AveragePool", _reached(at, _padded(at, tensor, around), 0.0))
        for tensor, around in ((x.name, 0.0), (ones, counted))
    )
    return at.emit("Div", made, share)
