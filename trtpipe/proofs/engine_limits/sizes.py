"""Ranks, windows and sizes beyond the limits of TensorRT-RTX's layers, each tested on TensorRT-RTX 1.7.

A rule reports something only if the sizes that it depends on are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integers_of, subgraphs
from trtpipe.proofs.engine_limits.refusal import CUT
from trtpipe.proofs.engine_limits.values import NodeView

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.summary import Dim

Said = Iterator[tuple[str, str]]

_MOST_DIMS = 8
_LEAST_RANK = {
    **dict.fromkeys(("ArgMax", "ArgMin", "Hardmax", "LogSoftmax", "Softmax"), 2),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "InstanceNormalization"), 3),
    "LRN": 4,
}
_MOST_RANK = dict.fromkeys(("AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"), 5)
_WINDOW_2D = 100_000
_LRN_WINDOWS = range(1, 16, 2)
_LRN_BETA = (0.01, 1e5)
_LRN_BIAS = (1e-5, 1e10)
_RESIZED_AXES = {"linear": 3, "cubic": 2}
_UNKNOWN_ACTIVATIONS = frozenset({"affine"})
_IMAGE_RANK = 4
_FITTING = f"give its operands shapes that broadcast, or {CUT}"


def refused_size(node: NodeView) -> Said:
    """Why the sizes or numbers of this node are rejected; nothing if they may be accepted."""
    rank = node.rank(0)
    if rank is not None:
        yield from _ranks(node, rank)
    rule = _RULES.get(node.op)
    if rule is not None:
        yield from rule(node)


def _ranks(node: NodeView, rank: int) -> Said:
    least, most = _LEAST_RANK.get(node.op, 0), _MOST_RANK.get(node.op, _MOST_DIMS)
    if rank < least:
        yield f"its input has {_dims(rank)}, and TensorRT's layer takes {least} at least", CUT
    if rank > most:
        yield f"its input has {_dims(rank)}, and TensorRT's layer takes {most} at most", CUT
    made = [node.graph.dims(name) for name in node.node.output if name]
    if rank <= most and any(dims is not None and len(dims) > _MOST_DIMS for dims in made):
        yield f"its output has more than {_MOST_DIMS} dimensions, which no tensor of TensorRT has", CUT


def _dims(rank: int) -> str:
    return f"{rank} dimension{'s' if rank != 1 else ''}"


def _lrn(node: NodeView) -> Said:
    size = node.integer("size")
    if size not in _LRN_WINDOWS:
        yield f"size is {size}, and TensorRT's layer takes odd ones from 1 to 15", CUT
    for name, (least, most), default in (("beta", _LRN_BETA, 0.75), ("bias", _LRN_BIAS, 1.0)):
        value = attribute_of(node.node, name)
        number = float(value) if isinstance(value, float) else default
        if not least * (1 - 1e-6) <= number <= most:
            yield f"{name} is {number:g}, and TensorRT's layer takes {least:g} to {most:g}", CUT


def _pooled(node: NodeView) -> Said:
    if sum(bool(name) for name in node.node.output) > 1:
        yield "its indices are read, which TensorRT's layer does not yield", CUT
    window = integers_of(node.node, "kernel_shape")
    if node.rank(0) == _IMAGE_RANK and math.prod(window) >= _WINDOW_2D:
        yield (
            f"its window has {math.prod(window)} elements, and TensorRT's layer takes fewer than {_WINDOW_2D}",
            CUT,
        )


def _deconvolved(node: NodeView) -> Said:
    strides, dilations = integers_of(node.node, "strides"), integers_of(node.node, "dilations")
    if any(one > 1 for one in strides) and any(one > 1 for one in dilations):
        yield "it has strides and dilations, and TensorRT's builder takes one of the two", CUT


def _recurrent(node: NodeView) -> Said:
    given = attribute_of(node.node, "activations")
    names = [one.decode(errors="replace") for one in given] if isinstance(given, list) else []
    unknown = sorted({one for one in names if one.lower() in _UNKNOWN_ACTIVATIONS})
    if unknown:
        yield f"its activation {unknown[0]} is not one that TensorRT's parser knows", CUT
    if node.integer("input_forget"):
        yield "input_forget is 1, and TensorRT's parser accepts 0 only", CUT


def _resized(node: NodeView) -> Said:
    mode = node.text("mode", "nearest")
    before, after = node.dims(0), node.graph.dims(node.node.output[0])
    if mode not in _RESIZED_AXES or before is None or after is None or len(before) != len(after):
        return
    free = _RESIZED_AXES[mode]
    for axis, (old, new) in enumerate(zip(before, after, strict=True)):
        known = isinstance(old, int) and isinstance(new, int)
        if axis < len(before) - free and known and old != new:
            yield (
                f"it resizes axis {axis} by mode {mode}, and TensorRT's layer takes the last {free} axes",
                CUT,
            )
            return


def _branched(node: NodeView) -> Said:
    branches = [[_rank(value) for value in graph.output] for graph in subgraphs(node.node)]
    for ranks in zip(*branches, strict=False):
        known = sorted({rank for rank in ranks if rank})  # some values that are declared as scalars are not
        if len(known) > 1:
            told = f"its branches yield {known[0]} and {known[1]} dimensions"
            yield f"{told}, and TensorRT's builder takes equal ranks only", CUT
            return


def _together(node: NodeView) -> Said:
    """Known sizes that do not broadcast, for example the scale of an expanded normalization."""
    shapes = [node.dims(index) for index in range(len(node.node.input))]
    known = [shape for shape in shapes if shape is not None]
    for sizes in zip_longest(*(reversed(shape) for shape in known), fillvalue=1):
        fixed = {size for size in sizes if isinstance(size, int) and size != 1}
        if len(fixed) > 1:
            words = " and ".join(_shown(shape) for shape in known)
            yield f"its operands are {words}, which do not broadcast to each other", _FITTING
            return


def _shown(shape: Sequence[Dim]) -> str:
    return (
        "x".join("?" if isinstance(size, str) or size is None else str(size) for size in shape) or "a scalar"
    )


def _rank(value: onnx.ValueInfoProto) -> int | None:
    kind = value.type.tensor_type
    return len(kind.shape.dim) if kind.HasField("shape") else None


_RULES: Mapping[str, Callable[[NodeView], Said]] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Pow", "Sub"), _together),
    "AveragePool": _pooled,
    "ConvTranspose": _deconvolved,
    "GRU": _recurrent,
    "If": _branched,
    "LRN": _lrn,
    "LSTM": _recurrent,
    "LpPool": _pooled,
    "MaxPool": _pooled,
    "RNN": _recurrent,
    "Resize": _resized,
}
