"""Layers that move elements and have no declared equivalent: axes, depths and lengths that are tensors."""

from __future__ import annotations

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.networks.lowering.scope import LayerScope, dtype_of


def squeeze(at: LayerScope) -> list[str]:
    """Squeeze; the axes are a tensor, and all of length 1 where there is none."""
    axes = at.maybe(1)
    return [at.emit("Squeeze", at.read(0).name, *([at.int64(axes)] if axes else []))]


def unsqueeze(at: LayerScope) -> list[str]:
    """Unsqueeze; the axes are a tensor."""
    return [at.emit("Unsqueeze", at.read(0).name, at.int64(at.read(1)))]


def one_hot(at: LayerScope) -> list[str]:
    """OneHot of indices, values (off, on) and depth, in types that ONNX Runtime supports."""
    indices, values, depth = (at.read(index) for index in range(3))
    scalar = at.emit("Reshape", at.int64(depth), at.constant([1], "one"))
    held = values.dtype if values.dtype in ("float32", "int64") else "float32"
    if values.dtype in ("int32", "bool", "int8", "uint8"):
        held = "int64"
    chosen = at.cast(values.name, values.dtype, held)
    made = at.emit("OneHot", at.int64(indices), scalar, chosen, axis=at.whole("axis"))
    return [at.cast(made, held, values.dtype)]


def gather_in_batches(at: LayerScope) -> list[str]:
    """Gather whose first index axis is a batch axis: GatherND, with the axis moved behind the batch."""
    data, indices = at.read(0), at.read(1)
    rank, count = at.rank(data), at.rank(indices)
    axis = at.axis(at.whole("axis"), rank, "axis")
    if at.whole("num_elementwise_dims") != 1 or not axis:
        at.refuse(f"has num_elementwise_dims {at.whole('num_elementwise_dims')} and axis {axis}")
    order = [0, axis, *(one for one in range(1, rank) if one != axis)]
    moved = data.name if axis == 1 else at.emit("Transpose", data.name, perm=order)
    places = at.emit("Unsqueeze", at.int64(indices), at.constant([-1], "last"))
    found = at.emit("GatherND", moved, places, batch_dims=1)
    if axis == 1:
        return [found]
    taken, between = list(range(1, count)), list(range(count, count + axis - 1))
    behind = list(range(count + axis - 1, count + rank - 2))
    return [at.emit("Transpose", found, perm=[0, *between, *taken, *behind])]


def reverse_sequence(at: LayerScope) -> list[str]:
    """ReverseSequence; ONNX requires its axes to be the first two, so others are transposed there and back."""
    data, lengths = at.read(0), at.read(1)
    batch, time = at.whole("batch_axis"), at.whole("sequence_axis")
    rank = at.rank(data)
    order = [batch, time, *(axis for axis in range(rank) if axis not in (batch, time))]
    moved = at.emit("Transpose", data.name, perm=order)
    turned = at.emit("ReverseSequence", moved, at.int64(lengths), batch_axis=0, time_axis=1)
    return [at.emit("Transpose", turned, perm=[order.index(axis) for axis in range(rank)])]


def fill(at: LayerScope) -> list[str]:
    """Start plus, for each axis, its steps times its delta. Random numbers have no ONNX form."""
    operation, rank, dtype = at.member("operation"), at.rank_made, dtype_of(at.text("to_type"))
    if operation != "linspace":
        at.refuse(f"makes random numbers ({operation}), which are others each time")
    shape = at.maybe(0)
    dims = at.int64(shape) if shape else at.constant(at.sizes("shape") or (), "shape")
    start, delta = at.maybe(1), at.maybe(2)
    first = at.cast(start.name, start.dtype, dtype) if start else _constant(at, "alpha", dtype)
    step = at.cast(delta.name, delta.dtype, dtype) if delta else _constant(at, "beta", dtype)
    made = at.emit("Expand", first, dims)
    for axis in range(rank):
        place = at.constant(axis, f"axis_{axis}")
        size = at.emit("Gather", dims, place)
        steps = at.emit("Range", at.constant(0, "zero"), size, at.constant(1, "one"))
        counted = steps if dtype == "int64" else at.emit("Cast", steps, to=number_of_dtype(dtype))
        shifts = at.emit("Mul", counted, at.emit("Gather", _of_each(at, step, rank), place))
        column = at.constant([-1, *([1] * (rank - axis - 1))], f"column_{axis}")
        made = at.emit("Add", made, at.emit("Reshape", shifts, column))
    return [made]


def _constant(at: LayerScope, name: str, dtype: str) -> str:
    return at.constant(at.number(name), name, dtype)


def _of_each(at: LayerScope, delta: str, rank: int) -> str:
    """One delta for each axis, from a single number for all."""
    flat = at.emit("Reshape", delta, at.constant([-1], "flat"))
    return at.emit("Expand", flat, at.constant([rank], "as_many"))


def kv_cache_update(at: LayerScope) -> list[str]:
    """A cache of batch x heads x length x size, into which each sequence is written from its own position on."""
    cache, update, start = (at.read(index) for index in range(3))
    if at.member("cache_mode") != "linear" or at.parsed.attributes.get("update_form") != "PADDED_BHND":
        at.refuse("writes packed tensors, or not one element behind the other, which has no ONNX form")
    length = at.emit("Squeeze", at.emit("Shape", update.name, start=2, end=3), at.constant([0], "axes"))
    steps = at.emit("Range", at.constant(0, "zero"), length, at.constant(1, "one"))
    first = at.emit("Reshape", at.int64(start), at.constant([-1, 1, 1, 1], "by_batch"))
    places = at.emit("Add", first, at.emit("Reshape", steps, at.constant([1, 1, -1, 1], "by_place")))
    everywhere = at.emit("Expand", places, at.emit("Shape", update.name))
    return [at.emit("ScatterElements", cache.name, everywhere, update.name, axis=2)]
