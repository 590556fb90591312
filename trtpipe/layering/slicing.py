"""Lowers the slice layer: strict bounds to Slice, the other modes to Pad and Slice."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.layering.scope import Scope
from trtpipe.layering.shaping import as_int64
from trtpipe.spec.network.shaping import Slice

_PAD_MODES = {"wrap": "wrap", "clamp": "edge", "reflect": "reflect", "fill": "constant"}
_BEFORE_ALL = -(2**63)
"""The end of a slice that runs backwards to the first element (ONNX's Slice counts -1 from the end)."""


def slice_(layer: Slice, at: Scope) -> list[str]:
    """Slice, whose ends ONNX wants where TensorRT has sizes."""
    axes = (
        at.axes(layer.axes, at.rank(at.input)) if layer.axes is not None else list(range(at.rank(at.input)))
    )
    for name in ("start", "shape", "stride"):
        given = getattr(layer, name)
        if isinstance(given, tuple) and len(given) != len(axes):
            at.refuse(f"has {len(given)} numbers in {name} for {len(axes)} axes", "give one an axis", name)
    if isinstance(layer.start, str) or isinstance(layer.shape, str) or isinstance(layer.stride, str):
        return [_dynamic(layer, at, axes)]
    return [_static(layer, at, axes)]


def _static(layer: Slice, at: Scope, axes: list[int]) -> str:
    start, shape, stride = list(layer.start), list(layer.shape), list(layer.stride or [1] * len(axes))
    if min(shape, default=0) < 0 or 0 in stride:
        at.refuse(
            f"has shape {shape} and stride {stride}",
            "give sizes of 0 or more, and steps other than 0",
            "shape",
        )
    last = [first + (size - 1) * step for first, size, step in zip(start, shape, stride, strict=True)]
    tensor = at.input.name
    if layer.mode == "strict_bounds":
        _refuse_outside(layer, at, axes, start, shape, last)
    else:
        before, after = _overhang(at, axes, start, shape, last)
        if any((*before, *after)):
            tensor = _padded(layer, at, axes, before, after)
        start = [first + more for first, more in zip(start, before, strict=True)]
        last = [final + more for final, more in zip(last, before, strict=True)]
    ends = [_end(*one) for one in zip(start, shape, stride, last, strict=True)]
    names = (("starts", start), ("ends", ends), ("axes", axes), ("steps", stride))
    return at.emit("Slice", tensor, *(at.constant(value, name) for name, value in names))


def _end(start: int, size: int, step: int, last: int) -> int:
    if size == 0:
        return start
    if step > 0:
        return last + 1
    return last - 1 if last > 0 else _BEFORE_ALL


def _refuse_outside(
    layer: Slice, at: Scope, axes: list[int], start: list[int], shape: list[int], last: list[int]
) -> None:
    x = at.input
    for index, axis in enumerate(axes):
        dim = at.dims(x)[axis]
        low, high = min(start[index], last[index]), max(start[index], last[index])
        if shape[index] and (low < 0 or (isinstance(dim, int) and high >= dim)):
            at.refuse(
                f"reads elements {low} to {high} of axis {axis} of '{x.name}' {x.text}",
                "stay inside, or choose a mode: clamp, fill, reflect or wrap", "start",
            )  # fmt: skip


def _overhang(
    at: Scope, axes: list[int], start: list[int], shape: list[int], last: list[int]
) -> tuple[list[int], list[int]]:
    """How far the slice reaches over each axis, before and behind."""
    before, after = [], []
    for index, axis in enumerate(axes):
        inside = shape[index] == 0 or (
            start[index] >= 0 and last[index] >= 0 and not _reaches(at, axis, start[index], last[index])
        )
        dim = 0 if inside else at.size(at.input, axis, f"axis {axis} to reach over it")
        before.append(0 if inside else max(0, -min(start[index], last[index])))
        after.append(0 if inside else max(0, max(start[index], last[index]) - (dim - 1)))
    return before, after


def _reaches(at: Scope, axis: int, start: int, last: int) -> bool:
    """Whether it may reach over the end of an axis."""
    dim = at.dims(at.input)[axis]
    return not isinstance(dim, int) or max(start, last) >= dim


def _padded(layer: Slice, at: Scope, axes: list[int], before: list[int], after: list[int]) -> str:
    x = at.input
    for index, axis in enumerate(axes):
        dim = at.dims(x)[axis]
        most = {"reflect": (dim if isinstance(dim, int) else 0) - 1, "wrap": dim}.get(layer.mode)
        over = max(before[index], after[index])
        if over and isinstance(most, int) and over > most:
            at.refuse(
                f"reaches {over} over axis {axis} of '{x.name}' {x.text} in mode {layer.mode}",
                f"reach at most {most}: ONNX's Pad does not repeat twice", "start",
            )  # fmt: skip
    rank = at.rank(x)
    pads = [0] * (2 * rank)
    for index, axis in enumerate(axes):
        pads[axis], pads[rank + axis] = before[index], after[index]
    value = at.constant(layer.fill or 0, "fill", x.dtype) if layer.mode == "fill" else None
    return at.emit("Pad", x.name, at.constant(pads, "pads"), value, mode=_PAD_MODES[layer.mode])


def _dynamic(layer: Slice, at: Scope, axes: list[int]) -> str:
    """Start, shape or stride is a tensor: the ends are computed, start + (shape - 1) * stride + 1."""
    if layer.mode != "strict_bounds":
        at.refuse(f"has tensors for its dims and mode {layer.mode}, which has no ONNX form", "", "mode")
    if isinstance(layer.stride, tuple) and min(layer.stride) < 1:
        at.refuse("runs backwards over dims that are tensors, which has no ONNX form", "", "stride")

    def tensor(name: str, default: Sequence[int] = ()) -> str:
        given = at.tensor(name)
        written = getattr(layer, name)
        return as_int64(at, given) if given else at.constant(default if written is None else written, name)

    start, shape, stride = tensor("start"), tensor("shape"), tensor("stride", [1] * len(axes))
    one = at.constant(1, "one")
    steps = at.emit("Mul", at.emit("Sub", shape, one), stride)
    ends = at.emit("Add", at.emit("Add", start, steps), one)
    return at.emit("Slice", at.input.name, start, ends, at.constant(axes, "axes"), stride)
