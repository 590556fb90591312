"""A slice as one Gather per axis, for modes and strides that neither ONNX's Slice nor its Pad supports.

Element i of an axis is the input's element start + i * stride. Where that lies outside, TensorRT's modes are:

    clamp      the nearest element
    wrap       the input again and again
    reflect    the input mirrored at its first and last element, again and again
    fill       one value
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtpipe.layers.scope import Scope
from trtpipe.layers.values import Value


@dataclass(frozen=True, slots=True)
class SlicedBy:
    """Names of int64 tensors that give, for some axes, the elements to take."""

    start: str
    shape: str
    stride: str


def sliced_by_index(
    at: Scope, x: Value, axes: Sequence[int], by: SlicedBy, mode: str, fill: str | None = None
) -> str:
    """The slice of `x` on `axes`; `fill` is the value outside in mode fill, zero if it is None."""
    made, inside = x.name, None
    for place, axis in enumerate(axes):
        number = at.constant(place, f"place_{place}")
        first, count, step = (at.emit("Gather", one, number) for one in (by.start, by.shape, by.stride))
        steps = at.emit("Range", at.constant(0, "zero"), count, at.constant(1, "one"))
        index = at.emit("Add", first, at.emit("Mul", steps, step))
        span = at.emit("Shape", x.name, start=axis, end=axis + 1)
        made = at.emit("Gather", made, _within(at, index, span, mode), axis=axis)
        if mode == "fill":
            inside = _and(at, inside, _inside(at, index, span, at.rank(x) - axis - 1))
    if mode != "fill":
        return made
    assert inside is not None, "a slice has axes"
    return at.emit("Where", inside, made, fill or at.constant(0, "nothing", x.dtype))


def _within(at: Scope, index: str, span: str, mode: str) -> str:
    """Indices clamped to 0 … span - 1."""
    zero, one = at.constant(0, "zero"), at.constant(1, "one")
    last = at.emit("Sub", span, one)
    if mode == "strict_bounds":
        return index
    if mode == "wrap":
        return at.emit("Mod", index, span)
    if mode == "reflect":
        period = at.emit("Max", at.emit("Mul", last, at.constant(2, "two")), one)
        left = at.emit("Mod", index, period)
        return at.emit("Min", left, at.emit("Max", at.emit("Sub", period, left), zero))
    return at.emit("Max", at.emit("Min", index, last), zero)


def _inside(at: Scope, index: str, span: str, behind: int) -> str:
    """Whether each place is inside the input, reshaped so that it broadcasts along its axis."""
    above = at.emit("GreaterOrEqual", index, at.constant(0, "zero"))
    found = at.emit("And", above, at.emit("Less", index, span))
    return at.emit("Reshape", found, at.constant([-1, *([1] * behind)], "column"))


def _and(at: Scope, first: str | None, second: str) -> str:
    return second if first is None else at.emit("And", first, second)
