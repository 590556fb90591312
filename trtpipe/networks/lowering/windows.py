"""Pooling whose output is rounded up and whose input is padded.

ONNX leaves out a last window that starts in the padding, TensorRT does not: its tensors' shapes say so. So the padding
is put there first, and pooled as a part of the input. A window of nothing but padding has no elements: TensorRT does
not say what comes of it; here it is minus infinity as a maximum and NaN as an average.
"""

from __future__ import annotations

import math

from trtpipe.networks.lowering.scope import LayerScope


def is_rounded_up_and_padded(at: LayerScope) -> bool:
    """Whether a pooling layer is of that kind."""
    named = at.parsed.attributes
    padding = (at.sizes("pre_padding") or ()) + (at.sizes("post_padding") or ())
    return named.get("padding_mode") == "EXPLICIT_ROUND_UP" and any(padding)


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
    return at.emit(
        operator, tensor, kernel_shape=at.sizes("window_size_nd"), strides=at.sizes("stride_nd"), ceil_mode=1
    )


def _padded(at: LayerScope, tensor: str, value: float) -> str:
    before, after = (at.sizes(name) or () for name in ("pre_padding", "post_padding"))
    pads = at.constant([0, 0, *before, 0, 0, *after], "pads")
    return at.emit("Pad", tensor, pads, at.constant(value, "around", at.read(0).dtype))


def _maximum(at: LayerScope) -> str:
    return _pool(at, "MaxPool", _padded(at, at.read(0).name, -math.inf))


def _average(at: LayerScope) -> str:
    """The sum over a window by the number of elements in it, of which the padding are some or none."""
    x = at.read(0)
    made = _pool(at, "AveragePool", _padded(at, x.name, 0.0))
    if not at.flag("average_count_excludes_padding"):
        return made
    one = at.constant(1, "one", x.dtype)
    ones = at.emit("Expand", one, at.emit("Shape", x.name))
    return at.emit("Div", made, _pool(at, "AveragePool", _padded(at, ones, 0.0)))
