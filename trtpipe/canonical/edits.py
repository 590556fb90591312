"""Basic graph edits that all passes share: finding uses, renaming, sorting, removing dead nodes.

All work in place, on a graph and its nested graphs, and expect that value names are unique in the whole model (see
`names.make_values_unique`). Independent of any operator.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import graphs_in, graphs_of
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

ONNX = ("", "ai.onnx")
"""The standard operators' domain, and its other spelling."""


def subgraphs(node: onnx.NodeProto) -> Sequence[onnx.GraphProto]:
    """The graphs in a node's attributes (If, Loop, Scan)."""
    return graphs_in(node)


def attribute_of(node: onnx.NodeProto, name: str) -> object:
    """An attribute's value, of whatever type the model gives it; None when absent."""
    import onnx

    for attribute in node.attribute:
        if attribute.name == name:
            found: object = onnx.helper.get_attribute_value(attribute)
            return found
    return None


def integer_of(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    """An attribute that is a whole number; `default` when absent."""
    found = attribute_of(node, name)
    return found if isinstance(found, int) else default


def integers_of(node: onnx.NodeProto, name: str) -> list[int]:
    """An attribute that is a list of whole numbers; empty when absent."""
    found = attribute_of(node, name)
    return [one for one in found if isinstance(one, int)] if isinstance(found, list) else []


def values_read(node: onnx.NodeProto) -> Iterator[str]:
    """Every value a node reads, its nested graphs' reads and results included; some may be inner values."""
    yield from filter(None, node.input)
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from values_read(inner)
        yield from (value.name for value in graph.output)


def uses(model: onnx.ModelProto) -> Counter[str]:
    """How often each value is read, by nodes or as an output, at any depth."""
    counts: Counter[str] = Counter(value.name for value in model.graph.output)
    for node in model.graph.node:
        counts.update(values_read(node))
    return counts


def rename_reads(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Reads of each old name become reads of the new one; the main graph's outputs keep their names."""
    if not names:
        return
    for depth, graph in enumerate(graphs_of(model)):
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name in names:
                    node.input[index] = names[name]
        if depth:
            for value in graph.output:
                value.name = names.get(value.name, value.name)


def keep_nodes(graph: onnx.GraphProto, keep: Callable[[onnx.NodeProto], bool]) -> int:
    """Drops the nodes of this graph (not of nested ones) for which `keep` is false; returns how many."""
    kept = [node for node in graph.node if keep(node)]
    dropped = len(graph.node) - len(kept)
    if dropped:
        replace_nodes(graph, kept)
    return dropped


def replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Gives the graph these nodes, which may be some of its own, in this order."""
    import onnx

    held = onnx.GraphProto(node=nodes)  # copies, so that clearing the field cannot invalidate them
    graph.ClearField("node")
    graph.node.extend(held.node)


def remove_unused(model: onnx.ModelProto) -> int:
    """Drops nodes and initializers that nothing reads, at any depth, until none is left; how many."""
    removed = 0
    while True:
        read = uses(model)
        dropped = sum(_drop_unread(graph, read) for graph in graphs_of(model))
        if not dropped:
            return removed
        removed += dropped


def _drop_unread(graph: onnx.GraphProto, read: Counter[str]) -> int:
    """Works from the end, so that one pass over a sorted graph removes chains of any length; updates `read`."""
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if any(read[name] for name in node.output if name):
            kept.append(node)
        else:
            read.subtract(values_read(node))
    dropped = len(graph.node) - len(kept)
    if dropped:
        replace_nodes(graph, kept[::-1])
    unread = [index for index, tensor in enumerate(graph.initializer) if not read[tensor.name]]
    for index in reversed(unread):
        del graph.initializer[index]
    return dropped + len(unread)


def sort_nodes(model: onnx.ModelProto) -> bool:
    """Sorts every graph's nodes topologically and keeps their order otherwise; returns whether any moved.

    Raises ModelError when nodes form a cycle.
    """
    moved = [_sort(graph) for graph in graphs_of(model)]
    return any(moved)


def _sort(graph: onnx.GraphProto) -> bool:
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    awaited = [{producer[name] for name in values_read(node) if name in producer} for node in graph.node]
    if all(max(before, default=-1) < index for index, before in enumerate(awaited)):
        return False
    readers: dict[int, list[int]] = {}
    for index, before in enumerate(awaited):
        for other in before:
            readers.setdefault(other, []).append(index)
    ready = [index for index, before in enumerate(awaited) if not before]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            awaited[reader].discard(index)
            if not awaited[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(graph.node):
        stuck = next(node for index, node in enumerate(graph.node) if awaited[index])
        raise ModelError(
            Code.GRAPH_CYCLE,
            f"the graph has a cycle through node '{stuck.name or stuck.output[0]}' ({stuck.op_type})",
        )
    replace_nodes(graph, [graph.node[index] for index in order])
    return True
