"""Operations along axes in the file's layout: Reduce, ArgMax, ArgMin, Concat, Stack, Pad, Gather, GatherV2."""

from __future__ import annotations

import math

from trtpipe.frontends.uff_format.net import Misfit, Tensor
from trtpipe.frontends.uff_format.operation import Operation, Rule
from trtpipe.frontends.uff_format.orders import inverse
from trtpipe.shapes import LARGEST_DIM

_REDUCE = {
    "sum": "ReduceSum",
    "prod": "ReduceProd",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "mean": "ReduceMean",
}


def _reduce(op: Operation) -> Tensor:
    func = op.fields.text("func")
    if func not in _REDUCE:
        raise op.fields.wrong("func", f"is '{func}'", f"it must be one of {', '.join(_REDUCE)}")
    rank, keep = len(op.dims()), op.fields.flag("keepdims", False)
    axes = sorted({op.axis(axis, rank) for axis in op.fields.whole_list("axes")})
    if not axes:
        return op.emit("Identity", [op.plain()])
    order = op.layout()
    kept = [axis for axis in range(rank) if axis not in axes]
    if order and not keep and [order[axis] for axis in kept] != sorted(order[axis] for axis in kept):
        order = ()  # the remaining axes would be in another order than the file's
    (x,) = op.in_layout(order)
    chosen = sorted(order[axis] for axis in axes) if order else axes
    made = order if keep else ()
    if func == "sum":  # ReduceSum is the only one whose axes are an input at this opset
        tensor = op.canonical(
            _REDUCE[func], [x, op.net.values(chosen, f"{op.id}/axes")], made, keepdims=int(keep)
        )
    else:
        tensor = op.canonical(_REDUCE[func], [x], made, axes=chosen, keepdims=int(keep))
    tensor.ints = _reduced_ints(op, func, keep)
    return tensor


def _reduced_ints(op: Operation, func: str, keep: bool) -> tuple[int | None, ...] | None:
    ints = op.inputs[0].ints
    if ints is None or len(op.dims()) != 1 or keep or func not in ("prod", "sum"):
        return None
    known = [one for one in ints if one is not None]
    if len(known) < len(ints):
        return (None,)
    value = math.prod(known) if func == "prod" else sum(known)
    return (value if abs(value) <= LARGEST_DIM else None,)


def _arg(op: Operation) -> Tensor:
    """The index of the extreme along an axis, which is removed; int32, because TensorRT uses that for indices."""
    axis = op.axis(op.fields.whole("axis"), len(op.dims()))
    operator = op.node.operation
    index = op.net.apart(operator, [op.plain()], op.id, axis=axis, keepdims=0)
    return op.emit("Cast", [index], to=_INT32)


_INT32 = 6


def _concat(op: Operation) -> Tensor:
    ranks = {len(op.dims(index)) for index in range(len(op.inputs))}
    if len(ranks) != 1:
        raise Misfit(f"its inputs have {' and '.join(map(str, sorted(ranks)))} dimensions")
    (rank,) = ranks
    axis = op.axis(op.fields.whole("axis"), rank)
    op.alike()
    order = op.layout()
    if len(order) != rank:
        order = ()
    made = op.canonical("Concat", [*op.in_layout(order)], order, axis=order[axis] if order else axis)
    if rank == 1 and all(tensor.ints is not None for tensor in op.inputs):
        made.ints = tuple(one for tensor in op.inputs for one in tensor.ints or ())
    return made


def _stack(op: Operation) -> Tensor:
    """TensorFlow's Pack: the inputs are stacked along a new axis."""
    rank = len(op.dims())
    axis = op.axis(op.fields.whole("axis", 0), rank + 1)
    op.alike()
    axes = op.net.values([axis], f"{op.id}/axis")
    distinct = {tensor.id: tensor for tensor in op.inputs}
    raised = {
        id_: op.net.apart("Unsqueeze", [op.net.plain(tensor), axes], op.id)
        for id_, tensor in distinct.items()
    }
    made = op.emit("Concat", [raised[tensor.id] for tensor in op.inputs], axis=axis)
    if rank == 0 and all(tensor.ints is not None for tensor in op.inputs):
        made.ints = tuple(one for tensor in op.inputs for one in tensor.ints or ())
    return made


def _pad(op: Operation) -> Tensor:
    """Zero padding; the second input is [[before, after], …], one row per axis."""
    rank, amounts = len(op.dims()), op.constant(1, "padding")
    if amounts.dims != (rank, 2) or not amounts.dtype.startswith("int"):
        raise Misfit(f"its padding is {amounts.dtype} {list(amounts.dims)}, and must be int32 {[rank, 2]}")
    rows = [[int(one) for one in row] for row in op.net.array(amounts)]
    if any(not 0 <= one <= LARGEST_DIM for row in rows for one in row):
        raise Misfit(f"its padding is {rows[:8]}, and must be 0 or more")
    waiting = op.inputs[0]
    order = waiting.order if waiting.plain is None and waiting.constant is None else ()
    if order:
        rows = [rows[axis] for axis in inverse(order)]
    x = op.net.in_order(waiting, order) if order else op.plain()
    pads = [before for before, _ in rows] + [after for _, after in rows]
    return op.canonical("Pad", [x, op.net.values(pads, f"{op.id}/pads")], order)


def _gather(op: Operation) -> Tensor:
    """Slices of the first input at the indices in the second one."""
    if op.net.dtype(op.inputs[1]) not in ("int32", "int64"):
        raise Misfit(f"its indices '{op.inputs[1].id}' are {op.net.dtype(op.inputs[1])}, and must be int32")
    axis = op.fields.whole("axis", 0) if op.node.operation == "GatherV2" else 0
    return op.emit("Gather", [op.plain(0), op.plain(1)], axis=op.axis(axis, len(op.dims())))


RULES = {
    "Reduce": Rule(_reduce),
    "ArgMax": Rule(_arg),
    "ArgMin": Rule(_arg),
    "Concat": Rule(_concat, inputs=None),
    "Stack": Rule(_stack, inputs=None),
    "Pad": Rule(_pad, inputs=2),
    "Gather": Rule(_gather, inputs=2),
    "GatherV2": Rule(_gather, inputs=2),
}
