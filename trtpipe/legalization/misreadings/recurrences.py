"""RNN, GRU and LSTM with the batch as first axis: the parser ignores `layout`, so it becomes Transposes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of
from trtpipe.legalization.misreadings.scope import Scope, changed, named

if TYPE_CHECKING:
    import onnx

_STATES = (5, 6)  # the inputs initial_h and initial_c


def rewrite_recurrence(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Layout 0, the sequence first, between Transposes."""
    if not integer_of(node, "layout"):
        return None
    made = changed(node, "layout")
    before, after = [], []
    for index in (0, *_STATES):
        if index < len(node.input) and node.input[index]:
            turned = scope.node("Transpose", [node.input[index]], node.input[index], perm=[1, 0, 2])
            made.input[index] = turned.output[0]
            before.append(turned)
    for index, name in enumerate(node.output):
        if name:
            made.output[index] = scope.names(f"{name}/turned")
            perm = [1, 0, 2] if index else [2, 0, 1, 3]
            after.append(named("Transpose", [made.output[index]], [name], perm=perm))
    return [*before, made, *after]
