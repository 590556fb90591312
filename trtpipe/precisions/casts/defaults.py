"""Nodes that compute in float32 by default in a narrow-typed graph, decided by operator and structure alone.

    normalizations    as operators, and composed of them: square, mean or sum of it, root, division
    softmax           Softmax, LogSoftmax
    sums              ReduceSum and others that add up or multiplies many elements: a sum leaves float16's range, and
                      bfloat16's 8 bits, long before its terms do

That is what PyTorch's autocast does, for float16 and bfloat16 alike; its list has pointwise functions too (exp, log,
pow, reciprocal, tan), which stay narrow here: whether they overflow depends on data, and `overflow` looks at data.
ModelOpt's AutoCast and ONNX Runtime's float16 converter keep none of these by operator; the former judges by ranges,
the latter by which kernels it has. TensorRT advises float32 for normalizations. A mean (ReduceMean, pooling) stays
narrow, as in autocast: it is no larger than its elements, and kernels add in float32.

The casts cost nothing there: TensorRT-RTX 1.7 compiles LayerNormalization in half with a cast to float32 inside, and
takes casts around Softmax and LayerNormalization into the same kernel (attention stays one fused kernel).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_ir as ir

from trtpipe.precisions.casts.constants import constant_of
from trtpipe.precisions.casts.signatures import is_standard

NORMALIZATION, SOFTMAX, SUM = "normalization", "softmax", "sum"

BY_OPERATOR = {
    **dict.fromkeys(
        (
            "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "LpNormalization",
            "MeanVarianceNormalization", "RMSNormalization",
        ),
        NORMALIZATION,
    ),
    **dict.fromkeys(("LogSoftmax", "Softmax"), SOFTMAX),
    **dict.fromkeys(
        (
            "CumProd", "CumSum", "GlobalLpPool", "LpPool", "ReduceL1", "ReduceL2", "ReduceLogSum",
            "ReduceLogSumExp", "ReduceProd", "ReduceSum", "ReduceSumSquare",
        ),
        SUM,
    ),
}  # fmt: skip
"""Operator → why it computes in float32."""

_MEANS = frozenset({"GlobalAveragePool", "ReduceMean", "ReduceSum"})
_SQUARED = frozenset({"ReduceL2", "ReduceSumSquare"})
_BETWEEN = frozenset({
    "Add", "Cast", "Clip", "Div", "Expand", "Identity", "Max", "Mul", "Reshape", "Squeeze", "Sub", "Unsqueeze",
})  # fmt: skip
"""Operators that may occur between the mean of squares and the root of it."""
_MOST = 48  # the most nodes between a root and its mean that are searched


def wide_by_default(nodes: Iterable[ir.Node]) -> dict[ir.Node, str]:
    """Maps nodes to the category above that they belong to; reads no tensors except scalars."""
    nodes = [node for node in nodes if is_standard(node)]
    found = {node: BY_OPERATOR[node.op_type] for node in nodes if node.op_type in BY_OPERATOR}
    for node in nodes:
        if _is_root(node):
            found |= dict.fromkeys(_spelled_out(node), NORMALIZATION)
    return found


def _spelled_out(root: ir.Node) -> set[ir.Node]:
    """The nodes of the normalization that computes this root of a mean of squares; empty for any other root."""
    statistics = _leading(_operand(root, 0), _squares)
    if not statistics:
        return set()
    statistics |= _leading(_operand(root, 0), lambda node: node.op_type in _MEANS)
    means = [node for node in statistics if node.op_type in _MEANS]
    squares = [maker for node in means if (maker := _maker(_operand(node, 0))) is not None and _squares(node)]
    centred: set[ir.Node] = set()
    for square in squares:
        sub = _maker(_operand(square, 0))
        if sub is not None and sub.op_type == "Sub":
            leading = _leading(_operand(sub, 1), lambda node: node.op_type in _MEANS)
            centred |= {sub, *leading} if leading else set()
    return {root, *statistics, *squares, *centred, *_applied(root)}


def _applied(root: ir.Node) -> set[ir.Node]:
    """The nodes that divide by the root, or multiply by its reciprocal."""
    found: set[ir.Node] = set()
    for use in root.outputs[0].uses():
        node = use.node
        if node.op_type == "Reciprocal" or (
            node.op_type == "Div" and constant_of(_operand(node, 0)) is not None
        ):
            found |= {node, *(inner.node for inner in node.outputs[0].uses() if inner.node.op_type == "Mul")}
        elif (node.op_type == "Div" and use.idx == 1) or (node.op_type == "Mul" and root.op_type == "Pow"):
            found.add(node)
    return found


def _leading(value: ir.Value | None, reaches: Callable[[ir.Node], bool]) -> set[ir.Node]:
    """The nodes on the way to the value, back to and including those for which `reaches` holds."""
    near: list[ir.Node] = []
    found: set[ir.Node] = set()
    pending = [value]
    while pending and len(near) < _MOST:
        node = _maker(pending.pop())
        if node is None or node in near or node in found:
            continue
        if reaches(node):
            found.add(node)
        elif node.op_type in _BETWEEN:
            near.append(node)
            pending += node.inputs
    grew = True
    while grew:
        leading = {node for node in near if any(_maker(one) in found for one in node.inputs)} - found
        found |= leading
        grew = bool(leading)
    return found


def _squares(node: ir.Node) -> bool:
    """Whether a node computes the mean or the sum of squares."""
    if node.op_type in _SQUARED:
        return True
    square = _maker(_operand(node, 0)) if node.op_type in _MEANS else None
    if square is None:
        return False
    if square.op_type == "Mul":
        return _operand(square, 0) is _operand(square, 1)
    return square.op_type == "Pow" and _scalar(_operand(square, 1)) == 2


def _is_root(node: ir.Node) -> bool:
    return node.op_type == "Sqrt" or (node.op_type == "Pow" and abs(_scalar(_operand(node, 1)) or 0) == 0.5)


def _operand(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _maker(value: ir.Value | None) -> ir.Node | None:
    return value.producer() if value is not None else None


def _scalar(value: ir.Value | None) -> float | None:
    tensor = constant_of(value)
    if tensor is None or tensor.size != 1 or isinstance(tensor, ir.ExternalTensor):
        return None
    return float(tensor.numpy().reshape(()))
