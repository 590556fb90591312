"""Layers that move elements and that no declared layer says: axes, depths and lengths that are tensors."""

from __future__ import annotations

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.networks.lowering.scope import LayerScope, dtype_of


def squeeze(at: LayerScope) -> list[str]:
    """Squeeze; the axes are a tensor."""
    return [at.emit("Squeeze", at.read(0).name, at.int64(at.read(1)))]


def unsqueeze(at: LayerScope) -> list[str]:
    """Unsqueeze; the axes are a tensor."""
    return [at.emit("Unsqueeze", at.read(0).name, at.int64(at.read(1)))]


def one_hot(at: LayerScope) -> list[str]:
    """OneHot of indices, values (off, on) and depth; ONNX Runtime wants indices and depth of one type."""
    indices, values, depth = (at.read(index) for index in range(3))
    scalar = at.emit("Reshape", at.int64(depth), at.constant([1], "one"))
    return [at.emit("OneHot", at.int64(indices), scalar, values.name, axis=at.whole("axis"))]


def gather_in_batches(at: LayerScope) -> list[str]:
    """Gather whose indices' first axis goes together with the data's: GatherND, the axis brought behind the batch."""
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
    """ReverseSequence, whose axes ONNX wants to be the first two: others are brought there and back."""
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
    first = start.name if start else at.constant(at.number("alpha"), "alpha", dtype)
    step = delta.name if delta else at.constant([at.number("beta")] * max(rank, 1), "beta", dtype)
    made = at.emit("Expand", first, dims)
    for axis in range(rank):
        place = at.constant(axis, f"axis_{axis}")
        size = at.emit("Gather", dims, place)
        steps = at.emit("Range", at.constant(0, "zero"), size, at.constant(1, "one"))
        counted = steps if dtype == "int64" else at.emit("Cast", steps, to=number_of_dtype(dtype))
        shifts = at.emit("Mul", counted, at.emit("Gather", at.emit("Reshape", step, _flat(at)), place))
        column = at.constant([-1, *([1] * (rank - axis - 1))], f"column_{axis}")
        made = at.emit("Add", made, at.emit("Reshape", shifts, column))
    return [made]


def _flat(at: LayerScope) -> str:
    return at.constant([-1], "flat")
