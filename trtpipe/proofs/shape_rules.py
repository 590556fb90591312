"""Shape constraints that ONNX's shape inference does not check and every runtime enforces.

Inference trusts the target shape of a Reshape, and computes the shapes of PRelu, Conv and others without looking at all
operands. So a batch size that was fixed at export, or a slope of the wrong rank, shows up only when the model runs. A
rule reports nothing if a shape is unknown, nor for opsets below 7, which have other broadcasting rules. Independent of
profiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.inference import Inferred
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.shapes import Shape, format_shape

if TYPE_CHECKING:
    import onnx

_LEAST_OPSET = 7

Sizes = Callable[[str], "Shape | None"]
"""A value's shape, where all of it is known."""


def broken_rules(proto: onnx.ModelProto, inferred: Inferred) -> Iterator[Problem]:
    """Violations by nodes of the main graph at the inferred shapes."""
    if any(one.domain in ("", "ai.onnx") and one.version < _LEAST_OPSET for one in proto.opset_import):
        return
    known = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}

    def sizes(name: str) -> Shape | None:
        dims = known.get(name) if name in known else inferred.shape(name)
        fixed = tuple(dim for dim in dims or () if isinstance(dim, int))
        return fixed if dims is not None and len(fixed) == len(dims) else None

    for node in proto.graph.node:
        rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        fact = rule(node, sizes) if rule is not None else ""
        if fact:
            name = f"'{node.name}' ({node.op_type})" if node.name else f"of type {node.op_type}"
            where = f"which makes '{node.output[0]}', " if not node.name and node.output else ""
            yield Problem(
                Code.SHAPES_NOT_TAKEN,
                f"node {name}{',' if where else ''} {where}does not accept these shapes: {fact}",
                _REMEDIES.get(node.op_type, ""),
            )


def _of(node: onnx.NodeProto, index: int, sizes: Sizes) -> Shape | None:
    return sizes(node.input[index]) if index < len(node.input) and node.input[index] else None


def _reshape(node: onnx.NodeProto, sizes: Sizes) -> str:
    """The number of elements must stay the same."""
    given, made = _of(node, 0, sizes), sizes(node.output[0])
    if given is None or made is None or math.prod(given) == math.prod(made):
        return ""
    return (
        f"'{node.input[0]}' is {_shown(given)}, {math.prod(given)} elements, and it is to become "
        f"{_shown(made)}, {math.prod(made)} elements"
    )


def _slope(node: onnx.NodeProto, sizes: Sizes) -> str:
    """The slope is broadcast to the input, which keeps its shape."""
    return _one_way(node, 1, "slope", sizes)


def _one_way(node: onnx.NodeProto, operand: int, what: str, sizes: Sizes) -> str:
    given, other = _of(node, 0, sizes), _of(node, operand, sizes)
    if given is None or other is None:
        return ""
    pairs = zip(reversed(other), reversed(given), strict=False)
    if len(other) <= len(given) and all(size in (1, wanted) for size, wanted in pairs):
        return ""
    return (
        f"its {what} '{node.input[operand]}' is {_shown(other)}, which does not broadcast to {_shown(given)}"
    )


def _by_channel(node: onnx.NodeProto, sizes: Sizes) -> str:
    """Scale and bias have one value per channel (axis 1)."""
    given = _of(node, 0, sizes)
    if given is None or len(given) < 2:
        return ""
    for index in range(1, len(node.input)):
        shape = _of(node, index, sizes)
        if shape is not None and shape != given[1:2]:
            return f"'{node.input[index]}' is {_shown(shape)}, and '{node.input[0]}' has {given[1]} channels"
    return ""


def _scale(node: onnx.NodeProto, sizes: Sizes) -> str:
    """Scale and bias of a LayerNormalization are broadcast to the axes that are normalized."""
    return _one_way(node, 1, "scale", sizes) or _one_way(node, 2, "bias", sizes)


def _convolution(node: onnx.NodeProto, sizes: Sizes) -> str:
    """The weight says how many channels the input must have: its second size times the groups, or its first."""
    given, weight = _of(node, 0, sizes), _of(node, 1, sizes)
    if given is None or weight is None or len(given) < 2 or len(weight) != len(given):
        return ""
    groups = next((one.i for one in node.attribute if one.name == "group"), 1)
    wanted = weight[0] if node.op_type == "ConvTranspose" else weight[1] * groups
    if given[1] == wanted:
        return ""
    channels = f"'{node.input[0]}' has {given[1]} channels"
    return f"{channels}, and its weight '{node.input[1]}' of {_shown(weight)} takes {wanted}"


def _recurrent(node: onnx.NodeProto, sizes: Sizes) -> str:
    """The states have the input's batch, and one row for each direction; there are as many lengths as samples."""
    given, weight = _of(node, 0, sizes), _of(node, 1, sizes)
    if given is None or len(given) != 3:
        return ""
    layout = next((one.i for one in node.attribute if one.name == "layout"), 0)
    batch, rows = (0, 1) if layout else (1, 0)
    ours = f"the batch of '{node.input[0]}' is {given[batch]}"
    for operand in (5, 6) if node.op_type == "LSTM" else (5,):
        state = _of(node, operand, sizes)
        if state is None:
            continue
        theirs = f"its state '{node.input[operand]}' is {_shown(state)}"
        if len(state) != 3:
            return f"{theirs}, and a state has three axes"
        if state[batch] != given[batch]:
            return f"{theirs}, and {ours}"
        if weight is not None and state[rows] != weight[0]:
            return f"{theirs}, and there are {weight[0]} directions"
    lengths = _of(node, 4, sizes)
    if lengths is not None and lengths != (given[batch],):
        return f"its lengths '{node.input[4]}' are {_shown(lengths)}, and {ours}"
    return ""


def _shown(shape: Sequence[int]) -> str:
    return format_shape(tuple(shape)) or "a scalar"


_RULES: Mapping[str, Callable[[onnx.NodeProto, Sizes], str]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "GRU": _recurrent,
    "InstanceNormalization": _by_channel,
    "LSTM": _recurrent,
    "LayerNormalization": _scale,
    "PRelu": _slope,
    "RNN": _recurrent,
    "Reshape": _reshape,
}

_REMEDIES = {
    "Reshape": "a size was fixed when the model was exported: export it with dynamic axes, or -1 in place of that size",
    "PRelu": "a slope for each channel has one size of 1 for each axis behind the channels, such as (4, 1, 1)",
}
