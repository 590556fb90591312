"""Decides, node by node, which floating-point type a graph computes in. Looks at the structure only: no weight is read.

A node computes in the requested type when ONNX's schema for its opset allows that type for its float inputs and
outputs, TensorRT accepts it, and none of the following applies. They are checked in this order:

    the spec         a glob of `keep` names the node for a wider type (`kept_nodes`)
    a weight         that does not survive the type (found later, by `rewrite`, which has the weights)
    the source       float64 nodes compute in float32; float16 nodes stay, bfloat16 ones follow the requested type
    the operator     unknown to ONNX, or its schema or TensorRT does not allow the type
    sizes            floats computed from shapes alone hold sizes and positions, which narrow types do not count exactly
    data             a tensor of the node leaves the type's range on a calibration set (`overflow`)
    the defaults     normalizations, softmax and sums compute in float32 by default (`defaults`)

A glob that names the node for the requested type itself overrides the last two: `keep: {fp16: ["op:Softmax"]}`, or
`"*"`.

Nodes that only move data (Reshape, Concat, Slice, …) compute nothing: a connected group of them takes the type of its
neighbours, so that no cast is inserted for them or between two nodes of the same type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from trtpipe.errors import Problem, SpecPath
from trtpipe.precisions.casts.constants import constant_of
from trtpipe.precisions.casts.element_types import Types
from trtpipe.precisions.casts.free_types import (
    NARROW,
    FreeType,
    GraphFacts,
    NodeType,
    dtype_name,
    is_transparent,
)
from trtpipe.precisions.casts.kept_nodes import kept_by
from trtpipe.precisions.casts.limits import kept_because
from trtpipe.precisions.casts.overflow import Measured, Overflow, overflowing
from trtpipe.precisions.casts.signatures import FLOATS


@dataclass(frozen=True)
class TypePlan:
    """Node name → the type that it computes in; and the globs that matched nothing."""

    precision: str
    nodes: Mapping[str, NodeType]
    problems: tuple[Problem, ...] = ()
    forced: Mapping[str, NodeType] = field(default_factory=dict)
    """What the spec's globs decided."""
    advised: Mapping[str, str] = field(default_factory=dict)
    """Nodes that compute in float32 for their data or by default, unless the spec says otherwise → why."""
    overflows: Mapping[str, Overflow] = field(default_factory=dict)
    """Those of them that leave the type's range on the calibration set."""
    by_default: Mapping[str, str] = field(default_factory=dict)
    """Nodes that compute in float32 by default → what they are: normalization, softmax, sum."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Nodes that TensorRT does not accept in the requested type → why."""
    unmeasured: int = 0
    """How many nodes compute in half precision in branches and bodies, where the calibration set shows no ranges."""
    converted: frozenset[str] = frozenset()
    """Inputs and outputs that are converted to the type of `precision`."""
    unconverted: Mapping[str, float] = field(default_factory=dict)
    """Those that should and do not, because they leave its range on the calibration set → what they reach."""
    quantized: tuple[str, ...] = ()
    """Nodes of which operands are quantized."""

    def counts(self) -> dict[str, int]:
        """The number of nodes per type."""
        return dict(sorted(Counter(node.dtype for node in self.nodes.values()).items()))

    def why_not(self) -> dict[str, str]:
        """Nodes with floats that do not compute in the requested type → why."""
        return {
            name: node.reason for name, node in self.nodes.items() if node.reason and node.dtype != "none"
        }


def plan_around(
    facts: GraphFacts,
    precision: ir.DataType,
    forced: Mapping[str, NodeType],
    problems: Sequence[Problem] = (),
    measured: Measured | None = None,
) -> TypePlan:
    """The plan for computing in `precision`, except for nodes that are forced into another type."""
    decider = Decider(facts, precision, forced, {})
    defaults = facts.defaults if precision in NARROW else {}
    decider.advised = {
        name: _by_default(defaults[node]) for name, node in decider.names.items() if node in defaults
    }
    nodes = decider.decide()
    overflows: dict[str, Overflow] = {}
    if measured is not None and precision == ir.DataType.FLOAT16:
        judged = {name for name, node in nodes.items() if node.dtype == "float16" and name not in forced}
        overflows = overflowing(decider.names, decider.types, measured, judged)
        decider.advised |= {name: one.words() for name, one in overflows.items()}
        nodes = decider.decide() if overflows else nodes
    nested = [name for name, node in decider.names.items() if node.graph is not facts.graph]
    unmeasured = sum(nodes[name].dtype == "float16" for name in nested) if measured is not None else 0
    wide = {name for name, node in nodes.items() if node.reason and node.reason == decider.advised.get(name)}
    by_default = {
        name: defaults[decider.names[name]] for name in nodes if name in wide and name not in overflows
    }
    plan = TypePlan(dtype_name(precision), nodes, tuple(problems), forced, decider.advised)
    refused = {name: decider.refused[node] for name, node in decider.names.items() if node in decider.refused}
    return replace(plan, overflows=overflows, by_default=by_default, unmeasured=unmeasured, refused=refused)


def _by_default(kind: str) -> str:
    return f"a {kind} computes in float32 by default"


def dtype_called(name: str) -> ir.DataType | None:
    """The float type with this name; None for `none` and `source`."""
    return next((dtype for dtype in FLOATS if dtype_name(dtype) == name), None)


def origin(value: ir.Value, types: Types) -> ir.Value:
    """The value behind transparent casts."""
    producer = value.producer()
    while producer is not None and is_transparent(producer, types):
        source = producer.inputs[0]
        assert source is not None, "a Cast has an input"
        value = source
        producer = value.producer()
    return value


def kept_nodes(
    model: ir.Model, nodes: Mapping[str, ir.Node], keep: Mapping[str, Sequence[str]], path: SpecPath
) -> tuple[dict[str, NodeType], list[Problem]]:
    """The nodes that globs of the spec keep in a type, by name; also the globs that match nothing.

    `nodes` are those of the model, by name.
    """
    held, problems = kept_by(model, keep, path, nodes)
    return {
        name: NodeType(nodes[name].op_type, dtype, kept_because(glob)) for name, (dtype, glob) in held.items()
    }, problems


class Decider:
    """Decides the types for one model; `forced` holds nodes that the spec, or a weight, has already decided.

    `advised` holds nodes that compute in float32 unless the spec forces them into the requested type, and the reasons.
    """

    def __init__(
        self,
        facts: GraphFacts,
        precision: ir.DataType,
        forced: Mapping[str, NodeType],
        advised: Mapping[str, str],
    ) -> None:
        self.facts = facts
        self.precision = precision
        self.forced = forced
        self.advised = dict(advised)
        self.names = facts.names
        self.types = facts.types
        self.opsets = facts.opsets
        self.moving: dict[ir.Node, str] = {}
        self.refused: dict[ir.Node, str] = {}

    def decide(self) -> dict[str, NodeType]:
        """Every node's type, in graph order."""
        self.moving = {}
        free, asked = self.facts.free(self.precision), dtype_name(self.precision)
        decided = {name: self._one(name, node, free[name], asked) for name, node in self.names.items()}
        by_node = {node: decided[name].dtype for name, node in self.names.items() if node not in self.moving}
        for group in self._groups():
            dtype = self._followed(group, by_node)
            for node in group:
                decided[self.moving[node]] = NodeType(node.op_type, *dtype)
        return decided

    def _one(self, name: str, node: ir.Node, free: FreeType, asked: str) -> NodeType:
        """One node's type; nodes that only move data are noted and decided later."""
        if free.settled:
            return free.type
        held = self.forced.get(name)
        if held is not None and held.dtype != asked:
            return held
        if free.refused:
            self.refused[node] = free.refused
        if not free.advisable:
            return free.type
        why = "" if name in self.forced else self.advised.get(name, "")
        if why:
            return NodeType(node.op_type, "float32", why)
        if free.moves:
            self.moving[node] = name
        return free.type

    def _groups(self) -> Iterator[list[ir.Node]]:
        seen: set[ir.Node] = set()
        for start in self.moving:
            if start in seen:
                continue
            group, pending = [], [start]
            seen.add(start)
            while pending:
                node = pending.pop()
                group.append(node)
                near = {n for n in self._neighbours(node) if n in self.moving} - seen
                seen |= near
                pending += near
            yield group

    def _followed(self, group: list[ir.Node], decided: Mapping[ir.Node, str]) -> tuple[str, str]:
        around = {decided.get(near, "") for node in group for near in self._neighbours(node)}
        name = dtype_name(self.precision)
        return (name, "") if name in around else ("float32", "it only moves data between float32 tensors")

    def _neighbours(self, node: ir.Node) -> Iterator[ir.Node]:
        for value in node.inputs:
            if value is None or self.types.get(value) not in FLOATS or constant_of(value) is not None:
                continue
            producer = origin(value, self.types).producer()
            if producer is not None:
                yield producer
        for output in node.outputs:
            if self.types.get(output) in FLOATS:
                yield from self._consumers(output)

    def _consumers(self, value: ir.Value) -> Iterator[ir.Node]:
        for use in value.uses():
            if is_transparent(use.node, self.types):
                yield from self._consumers(use.node.outputs[0])
            else:
                yield use.node
