"""The nodes of a model that remain when it is built: those that depend on an input and reach an output.

Imitates, on the model as it was read, what importing does: cuts at the transform's outputs, folds what depends on
constants alone, decides branches by bound inputs. In case of doubt a node counts as removed: a check must never reject
what would build, and the parser checks again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import remove_unused, subgraphs, values_read
from trtpipe.canonical.summary import TensorInfo

if TYPE_CHECKING:
    import onnx

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that draw numbers, so that nothing can be folded."""
OF_SHAPE = frozenset({"Shape", "Size"})
"""Operators that read no values, only how many there are."""


def cut_at(model: onnx.ModelProto, outputs: Collection[str]) -> None:
    """Makes the existing ones of `outputs` the model's only outputs, in place, and drops everything unread.

    An input that only dropped nodes read is dropped too.
    """
    import onnx

    graph = model.graph
    made = {name for node in graph.node for name in node.output if name} | {
        value.name for value in graph.input
    }
    kept = [name for name in dict.fromkeys(outputs) if name in made]
    before = _read(graph)
    if kept:
        declared = {value.name: value for value in graph.output}
        values = [declared.get(name) or onnx.ValueInfoProto(name=name) for name in kept]
        held = onnx.GraphProto(output=values)
        graph.ClearField("output")
        graph.output.extend(held.output)
    remove_unused(model)
    unread = before - _read(graph)
    for index in reversed(range(len(graph.input))):
        if graph.input[index].name in unread:
            del graph.input[index]


def _read(graph: onnx.GraphProto) -> set[str]:
    names = {name for node in graph.node for name in values_read(node)}
    return names | {value.name for value in graph.output}


def live_nodes(
    model: onnx.ModelProto, bound: Collection[str], known: Mapping[str, TensorInfo]
) -> Iterator[onnx.NodeProto]:
    """The nodes that neither folding nor a decided branch removes; calls of the model's own functions are left out.

    `known` are the inferred shapes, which determine whether a Shape is constant. Nodes must be in topological order.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    varying = {value.name for value in model.graph.input} - given - set(bound)
    functions = {function.name for function in model.functions}
    yield from (node for node in _live(model.graph, varying, known) if node.op_type not in functions)


def _live(
    graph: onnx.GraphProto, varying: set[str], known: Mapping[str, TensorInfo]
) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        if not _varies(node, varying, known):
            continue
        varying.update(filter(None, node.output))
        yield node
        if node.op_type == "If" and node.input[0] not in varying:
            continue
        for inner in subgraphs(node):
            yield from _live(inner, varying | {value.name for value in inner.input}, known)


def _varies(node: onnx.NodeProto, varying: set[str], known: Mapping[str, TensorInfo]) -> bool:
    if node.op_type in RANDOM:
        return True
    if node.op_type in OF_SHAPE:
        info = known.get(node.input[0])
        static = info is not None and info.dims is not None and not info.dynamic_axes
        return node.input[0] in varying and not static
    return any(name in varying for name in values_read(node))
