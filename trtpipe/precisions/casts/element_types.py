"""Infers the element type of every value of a graph from the operators' signatures alone: no shapes, no weights.

ONNX's own inference stops at the first operator that it does not know; types can usually be inferred without it, from
the operators' schemas.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from trtpipe.precisions.casts.signatures import attribute_type, signature_of

Types = dict[ir.Value, ir.DataType]

_GRAPH, _GRAPHS = ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS


def element_types(model: ir.Model) -> Types:
    """The element type of every value that has a known one; the model is not changed."""
    types: Types = {}
    for graph in graphs_of(model):
        for value in (*graph.inputs, *graph.initializers.values()):
            _note(types, value, _declared(value))
    _walk(model.graph, dict(model.opset_imports), types)
    return types


def graphs_of(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph and every graph nested in it, outer before inner."""
    pending = [model.graph]
    while pending:
        graph = pending.pop(0)
        yield graph
        pending += [inner for node in graph for inner in subgraphs(node)]


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """The graphs among a node's attributes (branches and bodies)."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.data.values():  # the dict itself: faster
        if attribute.type is _GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type is _GRAPHS:
            found += attribute.as_graphs()
    return found


def _walk(graph: ir.Graph, opsets: dict[str, int], types: Types) -> None:
    for node in graph:
        inner = subgraphs(node)
        for subgraph in inner:
            _feed(node, subgraph, types)
            _walk(subgraph, opsets, types)
        for index, output in enumerate(node.outputs):
            dtype = _of_body(node, inner, index, types) if inner else _of_output(node, index, opsets, types)
            _note(types, output, dtype or _declared(output))


def _feed(node: ir.Node, body: ir.Graph, types: Types) -> None:
    """Sets the types of a body's inputs from the values passed to them, where the body does not declare them."""
    fed: list[ir.Value | None] = list(node.inputs)
    if node.op_type == "Scan" and len(fed) == len(body.inputs) + 1:
        fed = fed[1:]  # in opset 8 the first input is the sequence lengths
    for value, source in zip(body.inputs, fed, strict=False):
        if value not in types and source is not None and source in types:
            types[value] = types[source]


def _of_output(node: ir.Node, index: int, opsets: dict[str, int], types: Types) -> ir.DataType | None:
    if index == 0:
        given = attribute_type(node)
        if given is not None:
            return given
    known = signature_of(node, opsets)
    if known is None:
        return None
    variable = known.output_variable(index)
    for position, value in enumerate(node.inputs):
        if value is not None and value in types and known.input_variable(position) == variable:
            return types[value]
    return known.only(variable)


def _of_body(node: ir.Node, inner: list[ir.Graph], index: int, types: Types) -> ir.DataType | None:
    """The type of an output of If, Loop or Scan, from its bodies. Loop's body has one more output, the condition."""
    position = index + (1 if node.op_type == "Loop" else 0)
    for graph in inner:
        if position < len(graph.outputs) and graph.outputs[position] in types:
            return types[graph.outputs[position]]
    return None


def _declared(value: ir.Value) -> ir.DataType | None:
    if isinstance(value.type, ir.TensorType):
        return value.type.dtype
    return value.const_value.dtype if value.const_value is not None else None


def _note(types: Types, value: ir.Value, dtype: ir.DataType | None) -> None:
    if dtype is not None and dtype != ir.DataType.UNDEFINED:
        types[value] = dtype
