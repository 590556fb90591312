"""Shape operations: ExpandDims, Squeeze, Flatten, Reshape, Transpose, Shape, StridedSlice.

Known parts of a computed shape become constants, so that only the unknown sizes are computed at run time.
"""

from __future__ import annotations

from collections.abc import Callable

from trtpipe.frontends.uff_format.net import Misfit, Tensor
from trtpipe.frontends.uff_format.operation import Operation, Rule

_INT32, _INT64 = 6, 7
_FAR = (1 << 63) - 1


def _expand_dims(op: Operation) -> Tensor:
    axis = op.axis(op.fields.whole("axis"), len(op.dims()) + 1)
    made = op.emit("Unsqueeze", [op.plain(), op.net.values([axis], f"{op.id}/axis")])
    made.ints = op.inputs[0].ints if not op.dims() else None
    return made


def _squeeze(op: Operation) -> Tensor:
    """Removes axes of size 1: those given, or all except the batch."""
    dims = op.dims()
    axes = sorted({op.axis(axis, len(dims)) for axis in op.fields.whole_list("axes", ())})
    axes = axes or [axis for axis, size in enumerate(dims) if axis and size == 1]
    if any(isinstance(dims[axis], int) and dims[axis] != 1 for axis in axes):
        raise Misfit(f"axes {axes} of {list(dims)} are not all of size 1")
    if not axes:
        return op.emit("Identity", [op.plain()])
    made = op.emit("Squeeze", [op.plain(), op.net.values(axes, f"{op.id}/axes")])
    made.ints = op.inputs[0].ints if len(dims) == 1 else None
    return made


def _flatten(op: Operation) -> Tensor:
    """Flattens all axes after the batch into one, in the file's layout."""
    op.dims()
    return op.emit("Flatten", [op.plain()], axis=1)


def _reshape(op: Operation) -> Tensor:
    wanted = op.inputs[1].ints
    if wanted is not None:
        open_ = [index for index, size in enumerate(wanted) if size is None]
        settled = [-1 if size is None else size for size in wanted]
        if len(open_) <= 1 and settled.count(-1) <= 1:
            if any(size < -1 for size in settled):
                raise Misfit(f"the shape {settled} has a negative size")
            zero = 1 if 0 in settled else None
            return op.emit("Reshape", [op.plain(), op.net.values(settled, f"{op.id}/shape")], allowzero=zero)
    if not op.net.dtype(op.inputs[1]).startswith("int"):
        raise Misfit(f"its shape '{op.inputs[1].id}' is {op.net.dtype(op.inputs[1])}, and must be int32")
    return op.emit("Reshape", [op.plain(), op.net.apart("Cast", [op.plain(1)], op.id, to=_INT64)])


def _transpose(op: Operation) -> Tensor:
    """Adds no node yet: an operation that needs the original layout can still use the tensor unchanged."""
    rank, permutation = len(op.dims()), op.fields.whole_list("permutation")
    if sorted(permutation) != list(range(rank)):
        raise op.fields.wrong("permutation", f"is {list(permutation)}", f"it must be one of {rank} axes")
    order = op.layout()
    (name,) = op.in_layout(order)
    return op.net.made(op.id, name, tuple(order[axis] for axis in permutation) if order else permutation)


def _shape(op: Operation) -> Tensor:
    dims = op.dims()
    made = op.emit("Cast", [op.net.apart("Shape", [op.plain()], op.id)], to=_INT32)
    made.ints = tuple(size if isinstance(size, int) else None for size in dims)
    return made


def _strided_slice(op: Operation) -> Tensor:
    """TensorFlow's: x[begin:end:stride, …] for the first axes; a shrunk axis is x[begin] and is removed."""
    for name in ("ellipsis_mask", "new_axis_mask"):
        if op.fields.whole(name, 0):
            raise op.fields.wrong(name, "is not 0", "such slices are not part of UFF")
    masks = {name: op.fields.whole(f"{name}_mask", 0) for name in ("begin", "end", "shrink_axis")}
    begins, ends, steps = (_bounds(op, index) for index in (1, 2, 3))
    rank = len(op.dims())
    if not len(begins) == len(ends) == len(steps) <= rank:
        raise Misfit(f"it has {len(begins)}, {len(ends)} and {len(steps)} bounds for {rank} dimensions")
    shrunk = [axis for axis in range(len(begins)) if masks["shrink_axis"] >> axis & 1]
    sliced = []
    for axis, step in enumerate(steps):
        if axis in shrunk:
            continue
        if not step:
            raise Misfit("a stride is 0 or is not known")
        begins[axis] = _open(begins[axis], masks["begin"] >> axis & 1, 0 if step > 0 else _FAR)
        ends[axis] = _open(ends[axis], masks["end"] >> axis & 1, _FAR if step > 0 else -_FAR)
        if (begins[axis], ends[axis], step) != (0, _FAR, 1):
            sliced.append(axis)
    made = _slice(op, shrunk, sliced, (begins, ends, steps))
    made.ints = _sliced_ints(op, shrunk, sliced, (begins, ends, steps))
    return made


_Bounds = tuple[list[int | None], list[int | None], list[int | None]]


def _bounds(op: Operation, index: int) -> list[int | None]:
    """The known values of begin, end or strides."""
    tensor = op.inputs[index]
    if tensor.ints is not None:
        return list(tensor.ints)
    dims = op.dims(index)
    if len(dims) != 1 or not isinstance(dims[0], int) or not op.net.dtype(tensor).startswith("int"):
        raise Misfit(
            f"its bounds '{tensor.id}' are {op.net.dtype(tensor)} {list(dims)}, and must be a vector of int32"
        )
    if dims[0] > len(op.dims()):
        raise Misfit(f"it has {dims[0]} bounds for {len(op.dims())} dimensions")
    return [None] * dims[0]


def _open(bound: int | None, masked: int, far: int) -> int | None:
    return far if masked else bound


def _slice(op: Operation, shrunk: list[int], sliced: list[int], bounds: _Bounds) -> Tensor:
    begins, ends, steps = bounds
    last = shrunk[0] if shrunk else None
    name = op.plain()
    make: Callable[..., str] = op.net.apart
    if sliced:
        inputs: list[str | None] = [
            name,
            _vector(op, 1, sliced, begins),
            _vector(op, 2, sliced, ends),
            op.net.values(sliced, f"{op.id}/axes"),
            op.net.values([steps[axis] or 1 for axis in sliced], f"{op.id}/steps"),
        ]
        make = op.net.emit if last is None else op.net.apart
        name = make("Slice", inputs, op.id)
    for axis in reversed(shrunk):
        make = op.net.emit if axis == last else op.net.apart
        name = make("Gather", [name, _index(op, axis, begins[axis])], op.id, axis=axis)
    return Tensor(op.id, plain=name) if sliced or shrunk else op.emit("Identity", [name])


def _vector(op: Operation, index: int, axes: list[int], known: list[int | None]) -> str:
    """Bounds of some axes: constants where they are known, else taken from the input."""
    values = [value for axis in axes if (value := known[axis]) is not None]
    if len(values) == len(axes):
        return op.net.values(values, f"{op.id}/{'begin' if index == 1 else 'end'}")
    whole = op.net.apart("Cast", [op.plain(index)], op.id, to=_INT64)
    parts = [
        op.net.values([value], f"{op.id}/bound")
        if (value := known[axis]) is not None
        else op.net.apart("Gather", [whole, op.net.values([axis], f"{op.id}/axis")], op.id, axis=0)
        for axis in axes
    ]
    return op.net.apart("Concat", [*parts], op.id, axis=0)


def _index(op: Operation, axis: int, begin: int | None) -> str:
    """The one index of a shrunk axis, a scalar."""
    if begin is None:
        return op.net.apart("Gather", [op.plain(1), op.net.values(axis, f"{op.id}/axis")], op.id, axis=0)
    size = op.dims()[axis]
    if isinstance(size, int) and not -size <= begin < size:
        raise Misfit(f"index {begin} is outside axis {axis} of size {size}")
    return op.net.values(begin, f"{op.id}/index")


def _sliced_ints(
    op: Operation, shrunk: list[int], sliced: list[int], bounds: _Bounds
) -> tuple[int | None, ...] | None:
    ints = op.inputs[0].ints
    begin, end, step = (one[0] if one else None for one in bounds)
    if ints is None or len(op.dims()) != 1 or begin is None:
        return None
    if shrunk:
        return (ints[begin],)
    if not sliced:
        return ints
    return None if end is None or step is None else ints[slice(begin, end, step)]


RULES = {
    "ExpandDims": Rule(_expand_dims),
    "Squeeze": Rule(_squeeze),
    "Flatten": Rule(_flatten),
    "Reshape": Rule(_reshape, inputs=2),
    "Transpose": Rule(_transpose),
    "Shape": Rule(_shape),
    "StridedSlice": Rule(_strided_slice, inputs=4),
}
