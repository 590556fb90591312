"""Decides, node by node, which floating-point type a graph computes in. Purely structural: no weight is read.

A node computes in the asked type when ONNX's schema for its opset allows that type where its floats go, TensorRT takes
it, and nothing says otherwise. What says otherwise, in this order:

    the spec         a glob of `keep` names the node for a wider type (`keeping`)
    a weight         that does not survive the type (found later, by `rewriting`, which has the weights)
    the source       float64 nodes compute in float32; float16 nodes stay, bfloat16 ones follow the asked type
    the operator     unknown to ONNX, or its schema or TensorRT refuses the type
    sizes            floats computed from shapes alone hold sizes and positions, which narrow types do not count exactly
    data             a tensor of the node leaves the type's range on a calibration set (`overflow`)
    the field        normalizations, softmax and sums compute in float32 by default (`defaults`)

The last two yield to a glob that names the node for the asked type itself: `keep: {fp16: ["op:Softmax"]}`, or `"*"`.

Nodes that only move data (Reshape, Concat, Slice, …) compute nothing: a connected group of them follows its
neighbours, so that no cast is spent on them and none stands between two nodes of the same type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import onnx_ir as ir

from trtpipe.errors import Problem, SpecPath
from trtpipe.precisions.casting.constants import constant_of
from trtpipe.precisions.casting.defaults import wide_by_default
from trtpipe.precisions.casting.element_types import Types, element_types, subgraphs
from trtpipe.precisions.casting.keeping import kept_by, named_nodes
from trtpipe.precisions.casting.limits import kept_because, tensorrt_refuses
from trtpipe.precisions.casting.overflow import Measured, Overflow, overflowing
from trtpipe.precisions.casting.signatures import FLOATS, Signature, is_standard, signature_of

NARROW = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})

MOVES_DATA = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape",
    "ReverseSequence", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators whose outputs hold elements of their inputs, or only their dims."""

_DATA_FROM_SHAPE = frozenset(
    {"ConstantOfShape", "Expand", "Tile", "EyeLike", "RandomNormalLike", "RandomUniformLike"}
)


@dataclass(frozen=True, slots=True)
class NodeType:
    """What one node computes in, and why when that is not the asked type."""

    op_type: str
    dtype: str
    """`float16`, `float32`, …; `none` for a node without floats, `source` for one that is left as it is."""
    reason: str = ""


@dataclass(frozen=True)
class TypePlan:
    """Node name → what it computes in; and the globs that matched nothing."""

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
    """Nodes that TensorRT does not take in the asked type → why."""
    unmeasured: int = 0
    """How many nodes compute in half precision in branches and bodies, where the calibration set shows no ranges."""
    converted: frozenset[str] = frozenset()
    """Inputs and outputs that take the type of `precision`."""
    unconverted: Mapping[str, float] = field(default_factory=dict)
    """Those that should and do not, because they leave its range on the calibration set → what they reach."""
    quantized: tuple[str, ...] = ()
    """Nodes of which operands are quantized."""

    def counts(self) -> dict[str, int]:
        """How many nodes compute in what."""
        return dict(sorted(Counter(node.dtype for node in self.nodes.values()).items()))

    def why_not(self) -> dict[str, str]:
        """Nodes that do not compute in the asked type though they have floats → why."""
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
    """The plan for computing in `precision` where nodes are not forced into something else."""
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


def dtype_name(dtype: ir.DataType) -> str:
    """`float32` for FLOAT; the others' own names in lower case."""
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype.name, dtype.name.lower())


def dtype_called(name: str) -> ir.DataType | None:
    """The float type of this name; None for `none` and `source`."""
    return next((dtype for dtype in FLOATS if dtype_name(dtype) == name), None)


def is_transparent(node: ir.Node | None, types: Types) -> bool:
    """Whether a node is a Cast between float types: such casts are dissolved and set anew where they are needed."""
    if node is None or node.op_type != "Cast" or not is_standard(node):
        return False
    source = node.inputs[0]
    return source is not None and types.get(source) in FLOATS and types.get(node.outputs[0]) in FLOATS


def origin(value: ir.Value, types: Types) -> ir.Value:
    """The value behind transparent casts."""
    producer = value.producer()
    while producer is not None and is_transparent(producer, types):
        source = producer.inputs[0]
        assert source is not None, "a Cast has an input"
        value = source
        producer = value.producer()
    return value


def float_variable(node: ir.Node, known: Signature, types: Types) -> str:
    """The type name that decides what a node computes in: its first float output's, else its first float input's."""
    for index, output in enumerate(node.outputs):
        if types.get(output) in FLOATS:
            return known.output_variable(index)
    for index, value in enumerate(node.inputs):
        if value is not None and types.get(value) in FLOATS:
            return known.input_variable(index)
    return ""


def kept_nodes(
    model: ir.Model, nodes: Mapping[str, ir.Node], keep: Mapping[str, Sequence[str]], path: SpecPath
) -> tuple[dict[str, NodeType], list[Problem]]:
    """The nodes that globs of the spec hold in a type, by name; and the globs that match nothing.

    `nodes` are those of the model, by name.
    """
    held, problems = kept_by(model, keep, path, nodes)
    return {
        name: NodeType(nodes[name].op_type, dtype, kept_because(glob)) for name, (dtype, glob) in held.items()
    }, problems


class GraphFacts:
    """What decisions go by, of a model that does not change while this is used: found once for all that decide."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.graph = model.graph
        self.opsets = dict(model.opset_imports)
        self._free: dict[ir.DataType, dict[str, FreeType]] = {}

    @cached_property
    def names(self) -> dict[str, ir.Node]:
        """Every node by its name."""
        return named_nodes(self.model)

    @cached_property
    def types(self) -> Types:
        """The element type of every value that has a known one."""
        return element_types(self.model)

    @cached_property
    def sizes(self) -> set[ir.Node]:
        """Nodes that compute from shapes alone."""
        return _computed_from_shapes(self.names.values())

    @cached_property
    def scanned(self) -> set[ir.Node]:
        """Nodes in the body of a Scan."""
        return set(_inside_scans(self.names.values()))

    @cached_property
    def defaults(self) -> dict[ir.Node, str]:
        """Nodes that compute in float32 by default → what they are."""
        return wide_by_default(self.names.values())

    def free(self, precision: ir.DataType) -> dict[str, FreeType]:
        """What each node would compute in if nothing but the source, its operator and sizes spoke."""
        if precision not in self._free:
            found = _FreeTypes(self, precision)
            self._free[precision] = {name: found.one(node) for name, node in self.names.items()}
        return self._free[precision]


class FreeType(NamedTuple):
    """What a node would compute in if neither the spec nor data nor the field's defaults spoke."""

    type: NodeType
    settled: bool = False
    """Whether nothing may change it: not even the spec."""
    advisable: bool = False
    """Whether data and defaults may have it in float32."""
    moves: bool = False
    """Whether it only moves data, and so follows its neighbours."""
    refused: str = ""
    """Why TensorRT does not take it in the asked type."""


class Decider:
    """Decides for one model; `forced` holds nodes that the spec, or a weight, has already decided.

    `advised` holds those that compute in float32 unless the spec forces them into the asked type, with the reason.
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
        """One node's type; those that only move data are noted for later."""
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


class _FreeTypes:
    """Decides of each node what it computes in when only the source, its operator and sizes speak."""

    def __init__(self, facts: GraphFacts, precision: ir.DataType) -> None:
        self.facts = facts
        self.types = facts.types
        self.precision = precision
        self.asked = dtype_name(precision)

    def one(self, node: ir.Node) -> FreeType:
        """One node's type."""
        known = signature_of(node, self.facts.opsets)
        variable = float_variable(node, known, self.types) if known else ""
        own = self._source_type(node, known, variable)
        if own is None:
            return FreeType(NodeType(node.op_type, "none", "it has no float tensors"), settled=True)
        if node.op_type == "Constant" or is_transparent(node, self.types):
            return FreeType(NodeType(node.op_type, "none"), settled=True)
        why = self._untouchable(node, known, variable)
        if why or known is None:
            return FreeType(NodeType(node.op_type, "source", why), settled=True)
        return self._by_source(node, own, known, variable)

    def _untouchable(self, node: ir.Node, known: Signature | None, variable: str) -> str:
        """Why a node's inputs and outputs keep the source's types whatever is asked; empty when they need not."""
        if subgraphs(node):
            return "control flow keeps the types of its branches' inputs and outputs"
        if known is None or not is_standard(node):
            return "it is no operator of ONNX's default domain"
        if node.op_type == "BitCast":
            return "its result depends on the width of its input"
        if not self._tensors_only(node, known):
            return "it handles sequences or optional values"
        unknown = [v for v in _bound(node, known, variable) if v not in self.types]
        return f"the type of '{unknown[0].name}' is not known" if unknown else ""

    def _by_source(self, node: ir.Node, own: ir.DataType, known: Signature, variable: str) -> FreeType:
        if self.precision == ir.DataType.FLOAT:
            allowed = known.allows(variable, ir.DataType.FLOAT)
            as_is = NodeType(node.op_type, "source", "its operator does not allow float32")
            return FreeType(NodeType(node.op_type, "float32") if allowed else as_is)
        if own == ir.DataType.FLOAT16:
            return FreeType(NodeType(node.op_type, dtype_name(own)))
        why, refused = self._refusal(node, own, known, variable)
        if why:
            return FreeType(NodeType(node.op_type, "float32", why), refused=refused)
        return FreeType(NodeType(node.op_type, self.asked), advisable=True, moves=_moves_data(node))

    def _refusal(self, node: ir.Node, own: ir.DataType, known: Signature, variable: str) -> tuple[str, str]:
        """Why a node does not compute in the asked type, and whether it is TensorRT that refuses: then in its words."""
        if own == ir.DataType.DOUBLE:
            return "it is float64 in the source", ""
        if not known.allows(variable, self.precision):
            opset = self.facts.opsets.get(node.domain, 1)
            return f"ONNX does not allow {self.asked} for {node.op_type} in opset {opset}", ""
        refused = tensorrt_refuses(node, variable, self.asked)
        if refused:
            return refused, refused
        if node in self.facts.scanned:
            return "TensorRT's compiler fails on casts inside a Scan's body", ""
        sizes = node in self.facts.sizes and node.op_type not in ("Shape", "Size")
        return ("it computes sizes or positions from shapes" if sizes else ""), ""

    def _tensors_only(self, node: ir.Node, known: Signature) -> bool:
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        if any(value.type is not None and not isinstance(value.type, ir.TensorType) for value in values):
            return False
        return all(known.may_be_tensor(known.output_variable(index)) for index in range(len(node.outputs)))

    def _source_type(self, node: ir.Node, known: Signature | None, variable: str) -> ir.DataType | None:
        found = [self.types[v] for v in _bound(node, known, variable) if self.types.get(v) in FLOATS]
        narrow = [dtype for dtype in found if dtype in NARROW]
        if narrow and len(narrow) == len(found):
            return narrow[0]
        return max(found, key=lambda dtype: dtype.itemsize, default=None)


def _moves_data(node: ir.Node) -> bool:
    return is_standard(node) and (node.op_type in MOVES_DATA or node.op_type == "Cast")


def _bound(node: ir.Node, known: Signature | None, variable: str) -> Iterator[ir.Value]:
    """The values that the deciding type name binds; all of them when there is no schema."""
    for index, value in enumerate(node.inputs):
        if value is not None and (known is None or known.input_variable(index) == variable):
            yield value
    for index, value in enumerate(node.outputs):
        if known is None or known.output_variable(index) == variable:
            yield value


def _inside_scans(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """Every node in the body of a Scan, at any depth."""
    for node in nodes:
        for graph in subgraphs(node):
            if node.op_type == "Scan":
                yield from graph
                yield from _nested(graph)


def _nested(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    for node in nodes:
        for graph in subgraphs(node):
            yield from graph
            yield from _nested(graph)


def _computed_from_shapes(nodes: Iterable[ir.Node]) -> set[ir.Node]:
    """Nodes all of whose inputs that are not constant lead back to Shape or Size."""
    found: set[ir.Node] = set()
    for node in nodes:
        if node.op_type in ("Shape", "Size"):
            found.add(node)
            continue
        computed = [v for v in node.inputs if v is not None and constant_of(v) is None]
        if computed and node.op_type not in _DATA_FROM_SHAPE and all(v.producer() in found for v in computed):
            found.add(node)
    return found
