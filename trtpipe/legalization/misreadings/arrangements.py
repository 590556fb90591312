"""Operators that move or select elements, with a default, a mode or a rank that the parser does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of
from trtpipe.legalization.misreadings.scope import Scope, changed, named

if TYPE_CHECKING:
    import onnx


def rewrite_trilu(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Makes the upper triangle explicit: without the attribute the parser keeps the lower one."""
    return [changed(node, upper=1)] if attribute_of(node, "upper") is None else None


def rewrite_space_to_depth(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Rewrites `mode` CRD as DCR, the only mode that the parser supports, and reorders the channels."""
    import numpy as np

    sizes, block = scope.sizes(node.input[0]), integer_of(node, "blocksize")
    channels = sizes[1] if len(sizes) > 1 else None
    if attribute_of(node, "mode") != b"CRD" or channels is None:
        return None
    made = changed(node, "mode")
    made.output[0] = scope.names(f"{node.output[0]}/dcr")
    order = np.arange(block * block * channels, dtype=np.int64).reshape(-1, channels).T.reshape(-1)
    indices = scope.constant(f"{node.output[0]}/order", order)
    return [made, named("Gather", [made.output[0], indices], node.output, axis=1)]


def rewrite_matmul(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """A vector times a batch of matrices: the vector becomes a row, because the parser drops the batch axis."""
    import numpy as np

    if scope.rank(node.input[0]) != 1 or (scope.rank(node.input[1]) or 0) < 3:
        return None
    first = scope.constant(f"{node.output[0]}/first", np.asarray([0], np.int64))
    last = scope.constant(f"{node.output[0]}/last_but_one", np.asarray([-2], np.int64))
    row = scope.node("Unsqueeze", [node.input[0], first], node.output[0])
    made = changed(node)
    made.input[0], made.output[0] = row.output[0], scope.names(f"{node.output[0]}/row")
    return [row, made, named("Squeeze", [made.output[0], last], node.output)]
