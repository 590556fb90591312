"""Resolves `If` nodes with a constant condition: the branch taken is inlined into the surrounding graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.constants import constants_of
from trtpipe.canonical.edits import replace_nodes
from trtpipe.canonical.tensors import array_of, graphs_of

if TYPE_CHECKING:
    import onnx


def resolve_branches(model: onnx.ModelProto) -> int:
    """Replaces every If with a constant condition by the branch that it takes; returns how many.

    Expects `names.make_values_unique`: values that a branch defines have names that are unique in the whole model.
    """
    constants = constants_of(model)
    resolved = 0
    for graph in list(graphs_of(model)):
        nodes: list[onnx.NodeProto] = []
        before = resolved
        for node in graph.node:
            branch = _taken(node, constants)
            if branch is None:
                nodes.append(node)
                continue
            resolved += 1
            model.graph.initializer.extend(branch.initializer)
            nodes += [*branch.node, *_connections(node, branch)]
        if resolved > before:
            replace_nodes(graph, nodes)
            break  # the nested graphs were copied; the next round processes the copies
    return resolved


def _taken(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> onnx.GraphProto | None:
    if node.op_type != "If" or node.domain or node.input[0] not in constants:
        return None
    condition = array_of(constants[node.input[0]])
    if condition.size != 1:
        return None
    wanted = "then_branch" if condition.reshape(-1)[0] else "else_branch"
    return next((attribute.g for attribute in node.attribute if attribute.name == wanted), None)


def _connections(node: onnx.NodeProto, branch: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Identity nodes from the branch's results to the If's outputs; `simplification` removes most of them."""
    import onnx

    pairs = [(inner.name, outer) for inner, outer in zip(branch.output, node.output, strict=False) if outer]
    return [onnx.NodeProto(op_type="Identity", input=[inner], output=[outer]) for inner, outer in pairs]
