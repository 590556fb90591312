"""Loops whose condition is an input of the model: the parser renames that input to the body's name for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.legalization.misreadings.scope import Scope, changed

if TYPE_CHECKING:
    import onnx


def rewrite_loop(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Negates the condition twice, so that the parser renames no model input; an Identity would be removed later."""
    condition = node.input[1] if len(node.input) > 1 else ""
    if condition not in scope.inputs:
        return None
    first = scope.node("Not", [condition], condition)
    second = scope.node("Not", [first.output[0]], condition)
    made = changed(node)
    made.input[1] = second.output[0]
    return [first, second, made]
