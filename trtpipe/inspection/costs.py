"""Rough costs of a graph at given input shapes: arithmetic operations, and memory for activations.

Arithmetic is counted by `operations`. Memory is the largest sum of tensors alive at once when nodes run in the
graph's order, each output while it is read, and nothing is fused, so it overestimates what TensorRT needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import values_read
from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.tensors import nodes_of
from trtpipe.inspection.operations import PRODUCTS, Count, Shapes
from trtpipe.proofs.corners import nbytes_of_info

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs; `uncounted` nodes have unknown shapes or are in nested graphs, and are missing from `flops`.

    `activation_bytes` is None when the size of any tensor is unknown; `peak_at` is the node that runs at the
    peak.
    """

    flops: int
    uncounted: int
    activation_bytes: int | None
    peak_at: str = ""


def costs_of(proto: onnx.ModelProto, inferred: Inferred, counted: Mapping[str, Count] = PRODUCTS) -> Costs:
    """The costs of a model whose shapes were inferred."""
    counts = list(flops_of_nodes(proto, inferred, counted).values())
    known = [count for count in counts if count is not None]
    everywhere = sum(node.op_type in counted for node in nodes_of(proto))
    return Costs(sum(known), everywhere - len(known), *_peak(proto.graph, inferred))


def flops_of_nodes(
    proto: onnx.ModelProto, inferred: Inferred, counted: Mapping[str, Count] = PRODUCTS
) -> dict[int, int | None]:
    """Position in the main graph of each node that counts → its operations, None where its shapes are not known."""
    shapes = Shapes(proto.graph, inferred)
    return {
        index: counted[node.op_type](node, shapes) if node.output and node.input else None
        for index, node in enumerate(proto.graph.node)
        if node.op_type in counted
    }


def _peak(graph: onnx.GraphProto, inferred: Inferred) -> tuple[int | None, str]:
    """The largest sum of tensors alive at once, weights not counted, and the node that runs then."""
    last_read = {name: index for index, node in enumerate(graph.node) for name in values_read(node)}
    last_read |= {value.name: len(graph.node) for value in graph.output}
    weights = {tensor.name for tensor in graph.initializer}
    alive: dict[str, int] = {}
    given = [value.name for value in graph.input if value.name not in weights]
    if not _came_alive(alive, given, inferred):
        return None, ""
    now = peak = sum(alive.values())
    where = ""
    dying: dict[int, list[str]] = {}
    for name in alive:
        dying.setdefault(last_read.get(name, -1), []).append(name)
    for index, node in enumerate(graph.node):
        made = [name for name in node.output if name] if node.op_type != "Constant" else []
        if not _came_alive(alive, made, inferred):
            return None, ""
        now += sum(alive[name] for name in made)
        if now > peak:
            peak, where = now, str(node.name or (node.output[0] if node.output else ""))
        for name in made:
            dying.setdefault(last_read.get(name, index), []).append(name)
        now -= sum(alive.pop(name, 0) for name in dying.pop(index, ()))
    return peak, where


def _came_alive(alive: dict[str, int], names: list[str], inferred: Inferred) -> bool:
    """Adds the sizes of these tensors to those alive; False if one is unknown."""
    for name in names:
        size = nbytes_of_info(inferred.values.get(name))
        if size is None:
            return False
        alive[name] = size
    return True
