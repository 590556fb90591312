"""ScatterND and ScatterElements with a reduction (add, mul, min, max): the parser only overwrites.

Constant indices are split into rounds without repeated indices; in each, the current values are gathered, combined and
overwritten. Other indices are compared with every position, if sizes are fixed and not too large, and each position
combines the updates that are meant for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.legalization.misreadings.scope import Scope, changed

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_COMBINED = {
    "add": ("Add", "ReduceSum"),
    "max": ("Max", "ReduceMax"),
    "min": ("Min", "ReduceMin"),
    "mul": ("Mul", "ReduceProd"),
}
_MOST_ROUNDS = 16
MOST_COMPARED = 1 << 24
"""Elements of a comparison of all places with all indices, at most."""
_AXES_AS_INPUT = 18
"""The opset from which all reductions take their axes as an input."""
_FLOATS = ("float32", "float16", "bfloat16")


@dataclass
class _Steps:
    """The nodes that replace one node, in order of creation."""

    scope: Scope
    near: str
    data: str
    """What is scattered into: everything is of its type."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, **attributes: int | list[int]) -> str:
        node = self.scope.node(operator, list(inputs), self.near, **attributes)
        self.nodes.append(node)
        return str(node.output[0])

    def whole(self, name: str, values: object) -> str:
        import numpy as np

        return self.scope.constant(f"{self.near}/{name}", np.asarray(values, np.int64))

    def shaped(self, value: str, *sizes: int) -> str:
        return self.add("Reshape", value, self.whole("sizes", list(sizes)))

    def end(self, name: str) -> list[onnx.NodeProto]:
        """The nodes; the last one produces the rewritten node's output and has its name."""
        last = self.nodes[-1]
        last.output[0], last.name = self.near, name
        return self.nodes


def rewrite_scatter(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """The node rewritten without a reduction; None if equality is not certain, or the result would be too large."""
    way = _way(node)
    if way not in _COMBINED:
        return None
    indices = scope.array(node.input[1])
    sizes = scope.sizes(node.input[0])
    if indices is not None and (indices.ndim == 0 or not all(indices.shape)):
        return None
    if indices is not None and sizes:
        return _in_rounds(node, scope, indices, way)
    return _compared(node, scope, way)


def _way(node: onnx.NodeProto) -> str:
    found = attribute_of(node, "reduction")
    return found.decode(errors="replace") if isinstance(found, bytes) else "none"


# -- constant indices


def _in_rounds(node: onnx.NodeProto, scope: Scope, indices: Array, way: str) -> list[onnx.NodeProto] | None:
    slots = _slots(node, scope, indices)
    if slots is None:
        return None
    rounds = _rounds(slots)
    if len(rounds) > _MOST_ROUNDS:
        return _compared(node, scope, way)
    return _overwritten(node, scope, indices, rounds, _COMBINED[way][0])


def _slots(node: onnx.NodeProto, scope: Scope, indices: Array) -> Array | None:
    """The index of the position that each update goes to; None if the sizes needed for it are unknown."""
    import numpy as np

    sizes = scope.sizes(node.input[0])
    if node.op_type == "ScatterND":
        head = [size for size in sizes[: indices.shape[-1]] if size is not None]
        if len(head) < indices.shape[-1]:
            return None
        plain = np.where(indices < 0, indices + np.asarray(head), indices)
        return _numbered(list(np.moveaxis(plain, -1, 0)), head)
    axis = integer_of(node, "axis") % len(sizes)
    size = sizes[axis]
    if size is None:
        return None
    places: list[Array] = list(np.indices(indices.shape))
    places[axis] = np.where(indices < 0, indices + size, indices)
    return _numbered(places, [max(int(one.max(initial=0)) + 1, 1) for one in places])


def _numbered(places: list[Array], sizes: list[int]) -> Array:
    """A flat index for each position given by coordinates."""
    import numpy as np

    made: Array = np.ravel_multi_index(tuple(places), tuple(sizes), mode="clip").reshape(-1)
    return made


def _rounds(slots: Array) -> list[Array]:
    """Splits the updates into as few parts as possible without a repeated position; earlier updates first."""
    import numpy as np

    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    starts = np.r_[0, np.flatnonzero(np.diff(ordered)) + 1] if len(ordered) else np.zeros(0, np.int64)
    counts = np.diff(np.r_[starts, len(ordered)])
    turn = np.arange(len(ordered)) - np.repeat(starts, counts)
    return [np.sort(order[turn == number]) for number in range(int(turn.max(initial=-1)) + 1)]


def _overwritten(
    node: onnx.NodeProto, scope: Scope, indices: Array, rounds: list[Array], operator: str
) -> list[onnx.NodeProto] | None:
    """Gathers, combines and overwrites once per round; for several rounds of ScatterND, updates are in one row."""
    steps = _Steps(scope, node.output[0], node.input[0])
    nd = node.op_type == "ScatterND"
    if len(rounds) > 1 and not nd:
        return _compared(node, scope, _way(node))
    data, updates = node.input[0], node.input[2]
    if len(rounds) > 1 and indices.ndim > 2:
        rest = scope.sizes(node.input[0])[indices.shape[-1] :]
        if None in rest:
            return None
        updates = steps.shaped(updates, -1, *(size for size in rest if size is not None))
        indices = indices.reshape(-1, indices.shape[-1])
    for chosen in rounds:
        part, given = indices, updates
        if len(rounds) > 1:
            part = indices[chosen]
            given = steps.add("Gather", updates, steps.whole("round", chosen), axis=0)
        held = scope.constant(f"{node.output[0]}/indices", part)
        axis = {} if nd else {"axis": integer_of(node, "axis")}
        there = steps.add("GatherND" if nd else "GatherElements", data, held, **axis)
        combined = steps.add(operator, there, given)
        last = changed(node, "reduction")
        last.input[:] = [data, held, combined]
        last.output[0] = data = scope.names(f"{node.output[0]}/scattered")
        steps.nodes.append(last)
    return steps.end(node.name) if rounds else None


# -- computed indices


def _compared(node: onnx.NodeProto, scope: Scope, way: str) -> list[onnx.NodeProto] | None:
    """Compares every place with every index, as (row, place, update)."""
    sizes, given = scope.sizes(node.input[0]), scope.sizes(node.input[1])
    if not sizes or not given or None in sizes or None in given:
        return None
    fixed = [size for size in sizes if size is not None]
    counts = [size for size in given if size is not None]
    if node.op_type == "ScatterND":
        return _compared_blocks(node, scope, way, fixed, counts)
    return _compared_elements(node, scope, way, fixed, counts)


def _compared_elements(
    node: onnx.NodeProto, scope: Scope, way: str, sizes: list[int], counts: list[int]
) -> list[onnx.NodeProto] | None:
    axis = integer_of(node, "axis") % len(sizes)
    others = [size for at, size in enumerate(sizes) if at != axis]
    if others != [size for at, size in enumerate(counts) if at != axis]:
        return None
    rows, places, updates = math.prod(others), sizes[axis], counts[axis]
    if rows * places * updates > MOST_COMPARED:
        return None
    steps = _Steps(scope, node.output[0], node.input[0])
    order = [*(at for at in range(len(sizes)) if at != axis), axis]
    data, index, given = (
        steps.shaped(steps.add("Transpose", value, perm=order), rows, *shape)
        for value, shape in zip(node.input, ([places, 1], [1, updates], [1, updates]), strict=True)
    )
    made = _chosen(steps, way, data, _same(steps, scope, node, index, places), given)
    back = [order.index(at) for at in range(len(sizes))]
    steps.add("Transpose", steps.shaped(made, *others, places), perm=back)
    return steps.end(node.name)


def _compared_blocks(
    node: onnx.NodeProto, scope: Scope, way: str, sizes: list[int], counts: list[int]
) -> list[onnx.NodeProto] | None:
    """Compares places with indices, where a place is a whole block of data; sums of blocks are a matrix product."""
    import numpy as np

    depth = counts[-1]
    head, rest = sizes[:depth], sizes[depth:]
    places, row, updates = math.prod(head), math.prod(rest), math.prod(counts[:-1])
    summed = way == "add" and scope.dtype(node.input[0]) in _FLOATS
    if places * updates * (1 if summed else row) > MOST_COMPARED:
        return None
    steps = _Steps(scope, node.output[0], node.input[0])
    strides = [math.prod(head[at + 1 :]) for at in range(depth)]
    flat = steps.shaped(node.input[1], updates, depth)
    below = steps.add("Less", flat, steps.whole("zero", 0))
    plain = steps.add("Where", below, steps.add("Add", flat, steps.whole("head", head)), flat)
    weighted = steps.add("Mul", plain, steps.whole("strides", strides))
    index = steps.add("ReduceSum", weighted, steps.whole("last", [-1]), keepdims=0)
    data, given = steps.shaped(node.input[0], places, row), steps.shaped(node.input[2], updates, row)
    if summed:
        same = steps.add("Equal", steps.whole("places", np.arange(places)[:, None]), index)
        ones = steps.add("Cast", same, to=_number(scope, node.input[0]))
        made = steps.add("Add", data, steps.add("MatMul", ones, given))
    else:
        row_index = steps.shaped(index, 1, 1, updates)
        same = steps.add("Equal", steps.whole("places", np.arange(places)[None, :, None]), row_index)
        turned = steps.shaped(steps.add("Transpose", given, perm=[1, 0]), row, 1, updates)
        across = steps.shaped(steps.add("Transpose", data, perm=[1, 0]), row, places, 1)
        made = steps.add("Transpose", _chosen(steps, way, across, same, turned), perm=[1, 0])
    steps.shaped(made, *sizes)
    return steps.end(node.name)


def _number(scope: Scope, name: str) -> int:
    return number_of_dtype(scope.dtype(name))


def _same(steps: _Steps, scope: Scope, node: onnx.NodeProto, index: str, places: int) -> str:
    """Which of the positions each index of a row addresses."""
    import numpy as np

    wide = index if scope.dtype(node.input[1]) == "int64" else steps.add("Cast", index, to=7)
    below = steps.add("Less", wide, steps.whole("zero", 0))
    plain = steps.add("Where", below, steps.add("Add", wide, steps.whole("size", places)), wide)
    return steps.add("Equal", steps.whole("places", np.arange(places)[None, :, None]), plain)


def _chosen(steps: _Steps, way: str, data: str, same: str, given: str) -> str:
    """The current values (row, place, 1) combined with their updates (row, 1, update): (row, place)."""
    import numpy as np
    import onnx

    operator, reduction = _COMBINED[way]
    neutral = data
    if way in ("add", "mul"):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(_number(steps.scope, steps.data))
        neutral = steps.scope.constant(f"{steps.near}/{way}", np.asarray(int(way == "mul"), dtype))
    each = steps.add("Where", same, given, neutral)
    last = steps.whole("last", [-1])
    if reduction == "ReduceSum" or steps.scope.opset >= _AXES_AS_INPUT:
        total = steps.add(reduction, each, last, keepdims=0)
    else:
        total = steps.add(reduction, each, axes=[-1], keepdims=0)
    return steps.add(operator, steps.add("Squeeze", data, last), total)
