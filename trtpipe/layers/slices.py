"""Lowers the slice layer: strict bounds to Slice, the other modes to Pad and Slice, a stride of 0 to Expand.

Slices that none of these can express (a mode or a negative stride with dims that are tensors) become a Gather by index.
"""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.layers.index_slices import SlicedBy, sliced_by_index
from trtpipe.layers.scope import Scope
from trtpipe.layers.shapes import as_int64
from trtpipe.spec.network.shape_layers import Slice

_PAD_MODES = {"wrap": "wrap", "clamp": "edge", "reflect": "reflect", "fill": "constant"}
_BEFORE_ALL = -(2**63)
"""The end of a slice that runs backwards to the first element (ONNX's Slice counts -1 from the end)."""


def slice_(layer: Slice, at: Scope) -> list[str]:
    """Slice, with ends computed from TensorRT's sizes; unsupported forms become a Gather by index."""
    axes = (
        at.axes(layer.axes, at.rank(at.input)) if layer.axes is not None else list(range(at.rank(at.input)))
    )
    for name in ("start", "shape", "stride"):
        given = getattr(layer, name)
        if isinstance(given, tuple) and len(given) != len(axes):
            at.refuse(f"has {len(given)} numbers in {name} for {len(axes)} axes", "give one per axis", name)
    stride = layer.stride if isinstance(layer.stride, tuple) else ()
    computed = any(isinstance(one, str) for one in (layer.start, layer.shape, layer.stride))
    strict = layer.mode == "strict_bounds"
    if computed and (not strict or min(stride, default=0) < 0):
        return [_by_index(layer, at, axes)]
    if 0 in stride and not strict:
        return [_by_index(layer, at, axes)]
    if computed:
        return [_dynamic(layer, at, axes)]
    return [_repeated(layer, at, axes) if 0 in stride else _static(layer, at, axes)]


def _static(layer: Slice, at: Scope, axes: list[int]) -> str:
    start, shape, stride = list(layer.start), list(layer.shape), list(layer.stride or [1] * len(axes))
    if min(shape, default=0) < 0:
        at.refuse(f"has shape {shape}", "give sizes of 0 or more", "shape")
    last = [first + (size - 1) * step for first, size, step in zip(start, shape, stride, strict=True)]
    tensor = at.input.name
    if layer.mode == "strict_bounds":
        _refuse_outside(layer, at, axes, start, shape, last)
    else:
        over = _overhang(at, axes, start, shape, last)
        if over is None or not _pads(layer, at, axes, *over):
            return _by_index(layer, at, axes)
        before, after = over
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
) -> tuple[list[int], list[int]] | None:
    """How far the slice exceeds each axis, before and after; None if a dynamic size leaves that open."""
    before, after = [], []
    for index, axis in enumerate(axes):
        low, high = min(start[index], last[index]), max(start[index], last[index])
        dim = at.dims(at.input)[axis]
        if shape[index] and not isinstance(dim, int):
            return None
        most = dim - 1 if isinstance(dim, int) else high
        before.append(max(0, -low) if shape[index] else 0)
        after.append(max(0, high - most) if shape[index] else 0)
    return before, after


def _pads(layer: Slice, at: Scope, axes: list[int], before: list[int], after: list[int]) -> bool:
    """Whether ONNX's Pad can reach that far: it repeats the input at most once."""
    for index, axis in enumerate(axes):
        dim = at.dims(at.input)[axis]
        most = {"reflect": (dim if isinstance(dim, int) else 0) - 1, "wrap": dim}.get(layer.mode)
        over = max(before[index], after[index])
        if over and isinstance(most, int) and over > most:
            return False
    return True


def _padded(layer: Slice, at: Scope, axes: list[int], before: list[int], after: list[int]) -> str:
    x = at.input
    rank = at.rank(x)
    pads = [0] * (2 * rank)
    for index, axis in enumerate(axes):
        pads[axis], pads[rank + axis] = before[index], after[index]
    value = at.constant(layer.fill or 0, "fill", x.dtype) if layer.mode == "fill" else None
    return at.emit("Pad", x.name, at.constant(pads, "pads"), value, mode=_PAD_MODES[layer.mode])


def _repeated(layer: Slice, at: Scope, axes: list[int]) -> str:
    """Where the stride is 0, one element that is repeated: a slice of it, expanded."""
    again = [step == 0 for step in layer.stride or ()]
    one = [1 if same else size for same, size in zip(again, layer.shape, strict=True)]
    step = [1 if same else step for same, step in zip(again, layer.stride or (), strict=True)]
    wanted = [1] * at.rank(at.input)
    for axis, same, size in zip(axes, again, layer.shape, strict=True):
        wanted[axis] = size if same else 1
    whole = not any(layer.start) and one == [at.dims(at.input)[axis] for axis in axes] and set(step) == {1}
    inner = layer.model_copy(update={"shape": tuple(one), "stride": tuple(step)})
    taken = at.input.name if whole else _static(inner, at, axes)
    return at.emit("Expand", taken, at.constant(wanted, "wanted"))


def _tensor(layer: Slice, at: Scope, name: str, default: Sequence[int] = ()) -> str:
    """Dims as a tensor of int64."""
    given, written = at.tensor(name), getattr(layer, name)
    return as_int64(at, given) if given else at.constant(default if written is None else written, name)


def _dims_as_tensors(layer: Slice, at: Scope, axes: list[int]) -> SlicedBy:
    return SlicedBy(
        _tensor(layer, at, "start"),
        _tensor(layer, at, "shape"),
        _tensor(layer, at, "stride", [1] * len(axes)),
    )


def _by_index(layer: Slice, at: Scope, axes: list[int]) -> str:
    fill = at.constant(layer.fill or 0, "fill", at.input.dtype) if layer.mode == "fill" else None
    return sliced_by_index(at, at.input, axes, _dims_as_tensors(layer, at, axes), layer.mode, fill)


def _dynamic(layer: Slice, at: Scope, axes: list[int]) -> str:
    """Start, shape or stride is a tensor: the ends are computed, start + (shape - 1) * stride + 1."""
    by = _dims_as_tensors(layer, at, axes)
    one = at.constant(1, "one")
    again = _repeats(layer, at, by)
    shape = at.emit("Where", again, one, by.shape) if again else by.shape
    stride = at.emit("Where", again, one, by.stride) if again else by.stride
    steps = at.emit("Mul", at.emit("Sub", shape, one), stride)
    ends = at.emit("Add", at.emit("Add", by.start, steps), one)
    taken = at.emit("Slice", at.input.name, by.start, ends, at.constant(axes, "axes"), stride)
    if again is None:
        return taken
    wanted = at.emit("Where", again, by.shape, one)
    if axes != list(range(at.rank(at.input))):
        every = at.constant([1] * at.rank(at.input), "every_axis")
        wanted = at.emit("ScatterElements", every, at.constant(axes, "where"), wanted, axis=0)
    return at.emit("Expand", taken, wanted)


def _repeats(layer: Slice, at: Scope, by: SlicedBy) -> str | None:
    """The axes on which one element is repeated because the stride is 0; None if there are none."""
    if isinstance(layer.stride, str):
        return at.emit("Equal", by.stride, at.constant(0, "zero"))
    if 0 not in (layer.stride or ()):
        return None
    return at.constant([step == 0 for step in layer.stride or ()], "repeated", "bool")
