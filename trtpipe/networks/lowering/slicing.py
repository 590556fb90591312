"""The slice layer: inside the bounds ONNX's Slice; in the other modes, and with strides of 0, a Gather an axis.

Element i of an axis is the input's element start + i * stride. Where that lies outside, TensorRT's modes are:

    clamp      the nearest element
    wrap       the input again and again
    reflect    the input mirrored at its first and last element, again and again
    fill       the fifth input
"""

from __future__ import annotations

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
    """Whether no stride is 0, which repeats an element and which ONNX's Slice does not take."""
    tensor = at.maybe(3)
    if tensor is None:
        return 0 not in (at.sizes("stride") or ())
    return tensor.array is not None and 0 not in tensor.array


def _given(at: LayerScope, name: str, index: int) -> str:
    """Dims, or the tensor that says them, as int64."""
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
    """Ends are start + (size - 1) * stride, and one step on; before the first element when it runs backwards."""
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
    return at.emit("Reshape", taken, size, allowzero=1)  # what lies outside is an error, not left out


def _by_index(at: LayerScope, mode: str) -> str:
    x = at.read(0)
    axes, (start, size, stride) = _on_axes(at)
    made, inside = x.name, None
    for place, axis in enumerate(axes):
        number = at.constant(place, f"place_{place}")
        first, count, step = (at.emit("Gather", one, number) for one in (start, size, stride))
        steps = at.emit("Range", at.constant(0, "zero"), count, at.constant(1, "one"))
        index = at.emit("Add", first, at.emit("Mul", steps, step))
        span = at.emit("Shape", x.name, start=axis, end=axis + 1)
        made = at.emit("Gather", made, _within(at, index, span, mode), axis=axis)
        if mode == "fill":
            inside = _and(at, inside, _inside(at, index, span, at.rank(x) - axis - 1))
    if mode != "fill":
        return made
    value = at.name_of(4) or at.constant(0, "nothing", x.dtype)
    assert inside is not None, "a slice has axes"
    return at.emit("Where", inside, made, value)


def _on_axes(at: LayerScope) -> tuple[list[int], list[str]]:
    """The axes, and start, size and stride on each; on all axes where it is computed which they are."""
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


def _within(at: LayerScope, index: str, span: str, mode: str) -> str:
    """Indices brought between 0 and span - 1."""
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


def _inside(at: LayerScope, index: str, span: str, behind: int) -> str:
    """Whether each place is inside the input, as a column with as many axes behind it."""
    above = at.emit("GreaterOrEqual", index, at.constant(0, "zero"))
    found = at.emit("And", above, at.emit("Less", index, span))
    return at.emit("Reshape", found, at.constant([-1, *([1] * behind)], "column"))


def _and(at: LayerScope, first: str | None, second: str) -> str:
    return second if first is None else at.emit("And", first, second)
