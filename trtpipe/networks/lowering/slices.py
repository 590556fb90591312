"""The slice layer: ONNX's Slice within bounds; a Gather per axis for the other modes and strides of 0.

`layers.index_slices` documents the modes; the value of mode fill is the fifth input.
"""

from __future__ import annotations

from trtpipe.layers.index_slices import SlicedBy, sliced_by_index
from trtpipe.networks.lowering.scope import LayerScope

_BEFORE_ALL = -(2**62)
"""An end before every element: ONNX's Slice counts -1 from the end."""


def slice_(at: LayerScope) -> list[str]:
    """Start, size, stride and axes are dims, or inputs 1, 2, 3 and 5."""
    mode = at.member("mode")
    if mode == "strict_bounds" and _moves(at):
        return [_strict(at)]
    return [_by_index(at, mode)]


def _moves(at: LayerScope) -> bool:
    """Whether no stride is 0; a stride of 0 repeats an element, which ONNX's Slice does not support."""
    tensor = at.maybe(3)
    if tensor is None:
        return 0 not in (at.sizes("stride") or ())
    return tensor.array is not None and 0 not in tensor.array


def _given(at: LayerScope, name: str, index: int) -> str:
    """Dims, or the tensor that gives them, as int64."""
    tensor = at.maybe(index)
    if tensor is not None:
        return at.int64(tensor)
    dims = at.sizes(name)
    if dims is None:
        at.refuse(f"has neither {name} nor input {index}")
    return at.constant(dims, name)


def _axes(at: LayerScope) -> str | None:
    """The axes that are sliced as a tensor; None: all of them."""
    if at.maybe(5) is None and not at.parsed.attributes.get("axes"):
        return None
    return _given(at, "axes", 5)


def _strict(at: LayerScope) -> str:
    """A strict slice: ends are start + (size - 1) * stride plus one step; a backward slice may end before element 0."""
    start, size, stride = _given(at, "start", 1), _given(at, "shape", 2), _given(at, "stride", 3)
    zero, one = at.constant(0, "zero"), at.constant(1, "one")
    last = at.emit("Add", start, at.emit("Mul", at.emit("Sub", size, one), stride))
    end = at.emit("Add", last, at.emit("Sign", stride))
    before = at.emit("And", at.emit("Less", stride, zero), at.emit("Less", end, zero))
    end = at.emit("Where", before, at.constant(_BEFORE_ALL, "before_all"), end)
    nothing = at.emit("Equal", size, zero)
    end = at.emit("Where", nothing, start, end)
    axes = _axes(at)
    if axes is not None:
        return at.emit("Slice", at.read(0).name, start, end, axes, stride)
    every = at.constant(list(range(at.rank(at.read(0)))), "all_axes")
    taken = at.emit("Slice", at.read(0).name, start, end, every, stride)
    return at.emit("Reshape", taken, size, allowzero=1)  # fails where ONNX's Slice would clamp an index


def _by_index(at: LayerScope, mode: str) -> str:
    axes, parts = _on_axes(at)
    return sliced_by_index(at, at.read(0), axes, SlicedBy(*parts), mode, at.name_of(4))


def _on_axes(at: LayerScope) -> tuple[list[int], list[str]]:
    """The axes, and start, size and stride on each; on all axes if the axes themselves are computed."""
    parts = [_given(at, name, index) for name, index in (("start", 1), ("shape", 2), ("stride", 3))]
    rank, tensor = at.rank(at.read(0)), at.maybe(5)
    if tensor is None:
        given = at.sizes("axes") if at.parsed.attributes.get("axes") else None
        return ([axis % rank for axis in given] if given else list(range(rank))), parts
    if tensor.array is not None:
        return [int(axis) % rank for axis in tensor.array.reshape(-1)], parts
    axes = at.emit("Mod", at.int64(tensor), at.constant(rank, "rank"))
    whole = at.constant([0] * rank, "start_of_all"), at.emit("Shape", at.read(0).name)
    all_of = [*whole, at.constant([1] * rank, "step_of_all")]
    spread = [
        at.emit("ScatterElements", one, axes, part, axis=0) for one, part in zip(all_of, parts, strict=True)
    ]
    return list(range(rank)), spread
