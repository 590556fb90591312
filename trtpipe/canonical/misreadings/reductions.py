"""Reductions that reduce nothing, and pooling by a norm: the parser leaves out what is done to each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of
from trtpipe.canonical.misreadings.scope import Scope, changed, named

if TYPE_CHECKING:
    import onnx


def rewrite_reduction(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """A reduction without axes and with `noop_with_empty_axes` is what it does to each element.

    Of empty axes that are a constant the parser does not forget that.
    """
    if any(node.input[1:]) or not integer_of(node, "noop_with_empty_axes"):
        return None
    operator = _EACH[node.op_type]
    if operator == "Log" and not scope.dtype(node.input[0]).startswith(("float", "bfloat")):
        return None  # ONNX has no logarithm of whole numbers
    inputs = [node.input[0]] * (2 if operator == "Mul" else 1)
    return [named(operator, inputs, node.output, name=node.name)]


_EACH = {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log", "ReduceSumSquare": "Mul"}


def rewrite_lp_pool(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Takes the absolute value before GlobalLpPool of an odd `p`, once: the parser forgets it."""
    if integer_of(node, "p", 2) % 2 == 0 or node.input[0] in scope.magnitudes:
        return None
    size = scope.node("Abs", [node.input[0]], node.output[0])
    made = changed(node)
    made.input[0] = size.output[0]
    return [size, made]
