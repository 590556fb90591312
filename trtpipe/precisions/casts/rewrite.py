"""Carries out a type plan: converts weights to the planned types and inserts casts only where types meet.

The model's inputs and outputs, and those of every nested graph, keep the types that the source gives them, except those
inputs and outputs of the model that the plan converts. A tensor is cast at most once to each type, right after it is
computed, so that nested graphs share the cast. Casts between float types that the source has are removed first, so that
rewriting a rewritten model changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import onnx_ir as ir

from trtpipe.errors import Problem
from trtpipe.precisions.casts.borders import bare_output
from trtpipe.precisions.casts.constants import CastTensor, constant_of, largest_magnitude, shape_of
from trtpipe.precisions.casts.element_types import graphs_of
from trtpipe.precisions.casts.free_types import GraphFacts, NodeType, dtype_name, is_transparent
from trtpipe.precisions.casts.ranges import why_not_half
from trtpipe.precisions.casts.signatures import FLOAT_BY_DEFAULT, FLOATS, TYPE_ATTRIBUTES, signature_of
from trtpipe.precisions.casts.type_plan import Decider, TypePlan, dtype_called, origin
from trtpipe.problem_codes import Code

_SUFFIX = {"float16": "fp16", "float32": "fp32", "bfloat16": "bf16", "float64": "fp64"}


@dataclass(frozen=True)
class RewriteReport:
    """What a rewrite did; `plan` is the plan as carried out, weights considered."""

    plan: TypePlan
    casts: tuple[str, ...]
    """Names of the Cast nodes that were inserted."""
    weights_cast: int
    warnings: tuple[Problem, ...]
    """Weights that did not survive the asked type, and so kept their nodes wide."""


@dataclass(frozen=True, slots=True)
class _Use:
    node: ir.Node
    index: int
    source: ir.Value
    dtype: ir.DataType


def rewrite_types(model: ir.Model, plan: TypePlan) -> RewriteReport:
    """Rewrites `model` in place as planned. Weights are read once, one at a time, and cast when they are written."""
    facts = GraphFacts(model)
    settled, warnings = _settle(facts, plan)
    rewriter = _Rewriter(model, facts, settled)
    rewriter.run()
    return RewriteReport(settled, tuple(rewriter.casts), rewriter.weights_cast, warnings)


def _settle(facts: GraphFacts, plan: TypePlan) -> tuple[TypePlan, tuple[Problem, ...]]:
    """The plan, with the nodes kept in float32 whose weights float16 cannot hold."""
    if plan.precision != "float16":
        return plan, ()
    decider = Decider(facts, ir.DataType.FLOAT16, plan.forced, plan.advised)
    forced = dict(plan.forced)
    warnings = []
    seen: dict[ir.Value, str] = {}
    for name, node in decider.names.items():
        if plan.nodes[name].dtype != "float16":
            continue
        for value in _weights_of(node, decider):
            if value not in seen:
                tensor = constant_of(value)
                assert tensor is not None, "only constants are looked at"
                seen[value] = why_not_half(largest_magnitude(tensor))
            if seen[value]:
                forced[name] = NodeType(node.op_type, "float32", f"its weight '{value.name}' {seen[value]}")
                warnings.append(_not_half(name, value, seen[value]))
    if len(forced) == len(plan.forced):
        return plan, ()
    decided = Decider(facts, ir.DataType.FLOAT16, forced, plan.advised).decide()
    return replace(plan, nodes=decided), tuple(warnings)


def _weights_of(node: ir.Node, decider: Decider) -> Iterator[ir.Value]:
    """The float32 constants that the node would take in half; bounds of Clip are left out, as they may saturate."""
    known = signature_of(node, decider.opsets)
    for index, value in enumerate(node.inputs):
        if value is None or (node.op_type == "Clip" and index > 0):
            continue
        source = origin(value, decider.types)
        wide = decider.types.get(source) in (ir.DataType.FLOAT, ir.DataType.DOUBLE)
        takes_half = known is not None and known.allows(known.input_variable(index), ir.DataType.FLOAT16)
        if wide and takes_half and constant_of(source) is not None:
            yield source


def _not_half(name: str, value: ir.Value, why: str) -> Problem:
    return Problem(
        Code.STAYS_WIDE,
        f"node '{name}' stays in float32: its weight '{value.name}' {why}",
        f"rescale the weight in the model, or keep the node by name: keep: {{fp32: ['{name}']}}",
        severity="warning",
    )


class _Rewriter:
    def __init__(self, model: ir.Model, facts: GraphFacts, plan: TypePlan) -> None:
        self.model = model
        self.names = facts.names
        self.opsets = facts.opsets
        self.types = facts.types
        self.computes = {node: dtype_called(plan.nodes[name].dtype) for name, node in self.names.items()}
        self.after = {value: self._made_type(value) for value in self.types}
        self.borders = self._converted(plan)
        self.casts: list[str] = []
        self.weights_cast = 0
        self.made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self.copies: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def run(self) -> None:
        """The rewrite, in an order that makes names and positions the same on every run."""
        for index, wanted in self.borders.items():
            bare_output(self.model.graph, index, wanted, self.types, self.after)
        uses = list(self._uses())
        dissolved = [n for n in self.names.values() if self._dissolves(n)]
        self.taken = self._names_in_use(set(dissolved))
        for value, dtype in self.after.items():
            self._set_type(value, dtype)
        self._set_attributes()
        self._cast_constants(uses)
        for graph in graphs_of(self.model):
            self._cast_outputs(graph)
        for use in uses:
            use.node.replace_input_with(use.index, self._in_type(use.source, use.dtype))
        self._remove(dissolved)

    # The type that each value has and must have

    def _converted(self, plan: TypePlan) -> dict[int, ir.DataType]:
        """The outputs to convert, by position; inputs are converted immediately."""
        graph, dtype = self.model.graph, dtype_called(plan.precision)
        assert dtype is not None, "a plan's precision is a float type"
        for value in graph.inputs:
            if value.name in plan.converted:
                self.after[value] = dtype
                value.type = ir.TensorType(dtype)
        return {index: dtype for index, one in enumerate(graph.outputs) if one.name in plan.converted}

    def _needed(self, node: ir.Node, index: int, value: ir.Value) -> ir.DataType:
        """The type in which a node takes a float input."""
        return self._placed(node, self.types[value], input_index=index)

    def _made_type(self, value: ir.Value) -> ir.DataType:
        node = value.producer()
        own = self.types[value]
        if (
            node is None
            or own not in FLOATS
            or node.op_type == "Constant"
            or is_transparent(node, self.types)
        ):
            return own
        return self._placed(node, own, output_index=value.index() or 0)

    def _placed(
        self, node: ir.Node, own: ir.DataType, *, input_index: int | None = None, output_index: int = 0
    ) -> ir.DataType:
        wanted = self.computes[node]
        known = signature_of(node, self.opsets)
        if wanted is None or known is None:
            return own
        variable = (
            known.output_variable(output_index) if input_index is None else known.input_variable(input_index)
        )
        if known.allows(variable, wanted):
            return wanted
        # An input that does not allow the wanted type (Resize's scales, a QuantizeLinear's scale) keeps its own.
        return own if known.allows(variable, own) else known.only(variable) or own

    def _uses(self) -> Iterator[_Use]:
        for node in self.names.values():
            if self._dissolves(node):
                continue
            for index, value in enumerate(node.inputs):
                if value is None or self.types.get(value) not in FLOATS:
                    continue
                source = origin(value, self.types)
                if is_transparent(node, self.types):
                    yield _Use(node, index, source, self.after[source])
                else:
                    yield _Use(node, index, source, self._needed(node, index, value))

    def _dissolves(self, node: ir.Node) -> bool:
        return is_transparent(node, self.types) and not node.outputs[0].is_graph_output()

    # Changing the graph

    def _set_type(self, value: ir.Value, dtype: ir.DataType) -> None:
        if dtype not in FLOATS or value.is_graph_output() or constant_of(value) is not None:
            return
        if value.type is not None and value.type.dtype != dtype:
            value.type = ir.TensorType(dtype)

    def _set_attributes(self) -> None:
        for node in self.names.values():
            wanted = self.computes[node]
            output = node.outputs[0] if node.outputs else None
            if wanted is None or output is None or self.types.get(output) not in FLOATS:
                continue
            made = self.after[output]
            name = TYPE_ATTRIBUTES.get(node.op_type)
            if node.op_type == "ConstantOfShape":
                filled = node.attributes.get("value")
                tensor = ir.tensor([0.0], dtype=ir.DataType.FLOAT) if filled is None else filled.as_tensor()
                if tensor.dtype != made:
                    node.attributes["value"] = ir.AttrTensor("value", CastTensor(tensor, made, tensor.name))
            elif name is not None and (name in node.attributes or node.op_type in FLOAT_BY_DEFAULT):
                node.attributes[name] = ir.AttrInt64(name, int(made))

    def _cast_constants(self, uses: list[_Use]) -> None:
        """Casts a constant in place when all uses want the same type; otherwise adds a copy for each other type."""
        wanted: dict[ir.Value, set[ir.DataType]] = {}
        for use in uses:
            if constant_of(use.source) is not None:
                wanted.setdefault(use.source, set()).add(use.dtype)
        for value, dtypes in wanted.items():
            own = self.types[value]
            if len(dtypes) == 1 and own not in dtypes and not value.is_graph_output():
                self._cast_in_place(value, next(iter(dtypes)))

    def _cast_in_place(self, value: ir.Value, dtype: ir.DataType) -> None:
        tensor = constant_of(value)
        assert tensor is not None, "only constants are cast in place"
        cast = CastTensor(tensor, dtype, tensor.name)
        producer = value.producer()
        if producer is None:
            value.const_value = cast
        else:
            producer.attributes.clear()
            producer.attributes["value"] = ir.AttrTensor("value", cast)
        value.type = ir.TensorType(dtype)
        self.after[value] = dtype
        self.weights_cast += 1

    def _copy(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        tensor = constant_of(value)
        assert tensor is not None and value.graph is not None, "only constants of a graph are copied"
        name = self._fresh(f"{value.name}_{_SUFFIX[dtype_name(dtype)]}")
        copy = ir.Value(
            name=name,
            type=ir.TensorType(dtype),
            shape=shape_of(tensor),
            const_value=CastTensor(tensor, dtype, name),
        )
        value.graph.register_initializer(copy)
        self.weights_cast += 1
        return copy

    def _cast_outputs(self, graph: ir.Graph) -> None:
        for index, output in enumerate(graph.outputs):
            own = self.types.get(output)
            producer = output.producer()
            if own not in FLOATS or producer is None or producer.graph is not graph:
                continue
            wanted = self.borders.get(index, own) if graph is self.model.graph else own
            if is_transparent(producer, self.types):
                producer.attributes["to"] = ir.AttrInt64("to", int(wanted))
                self._keep_cast(graph, producer, wanted)
            elif self.after[output] != wanted:
                self._cast_output(graph, index, output, wanted)
            if wanted != own:
                graph.outputs[index].type = ir.TensorType(wanted)

    def _cast_output(self, graph: ir.Graph, index: int, output: ir.Value, own: ir.DataType) -> None:
        """Gives the output's name to the cast, and a new name to the tensor before it."""
        name = output.name or ""
        made = self.after[output]
        if (output, own) in self.made:  # the same tensor is two outputs
            graph.outputs[index] = self.made[output, own]
            return
        output.name = self._fresh(f"{name}_{_SUFFIX[dtype_name(made)]}")
        output.type = ir.TensorType(made)
        cast = self._cast_node(output, own, name)
        self._insert(cast, output)
        graph.outputs[index] = cast.outputs[0]
        self.made[output, own] = cast.outputs[0]

    def _keep_cast(self, graph: ir.Graph, cast: ir.Node, own: ir.DataType) -> None:
        """Keeps a Cast that makes an output, moved directly after its source so that other uses can share it."""
        source = origin(cast.outputs[0], self.types)
        if (source, own) in self.made or constant_of(source) is not None:
            return
        maker = source.producer()
        home = maker.graph if maker is not None else source.graph
        if home is graph and cast.graph is graph:
            graph.remove(cast)
            self._insert(cast, source)
            self.made[source, own] = cast.outputs[0]

    def _in_type(self, source: ir.Value, dtype: ir.DataType) -> ir.Value:
        """The value in the given type: the value itself, or a cast of it."""
        if self.after[source] == dtype:
            return source
        key = (source, dtype)
        if key not in self.made:
            if constant_of(source) is not None:
                self.made[key] = self._copy(source, dtype)
            else:
                cast = self._cast_node(
                    source, dtype, self._fresh(f"{source.name}_{_SUFFIX[dtype_name(dtype)]}")
                )
                self._insert(cast, source)
                self.made[key] = cast.outputs[0]
        return self.made[key]

    def _cast_node(self, source: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
        output = ir.Value(name=name, type=ir.TensorType(dtype), shape=source.shape)
        node_name = self._fresh(f"cast_{name}")
        self.casts.append(node_name)
        return ir.node("Cast", [source], {"to": int(dtype)}, outputs=[output], name=node_name)

    def _insert(self, cast: ir.Node, source: ir.Value) -> None:
        maker = source.producer()
        if maker is not None:
            assert maker.graph is not None, "a node of the model stands in a graph"
            maker.graph.insert_after(maker, cast)
            return
        graph = source.graph
        assert graph is not None, "an input belongs to a graph"
        first = next(iter(graph), None)
        if first is None:
            graph.append(cast)
        else:
            graph.insert_before(first, cast)

    def _remove(self, dissolved: list[ir.Node]) -> None:
        for node in reversed(dissolved):
            if not node.outputs[0].uses() and node.graph is not None:
                node.graph.remove(node, safe=True)
        for node in self.names.values():
            if node.op_type == "Constant" and node.graph is not None and not _is_used(node.outputs[0]):
                node.graph.remove(node, safe=True)
        for graph in graphs_of(self.model):
            for name, value in list(graph.initializers.items()):
                replaced = any((value, dtype) in self.made for dtype in FLOATS)
                if replaced and not _is_used(value) and not value.is_graph_input():
                    del graph.initializers[name]

    def _names_in_use(self, dissolved: set[ir.Node]) -> set[str]:
        names: set[str | None] = set()
        for graph in graphs_of(self.model):
            names |= {value.name for value in graph.inputs} | set(graph.initializers)
            for node in graph:
                if node not in dissolved:
                    names |= {node.name, *(output.name for output in node.outputs)}
        return {name for name in names if name}

    def _fresh(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name


def _is_used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
