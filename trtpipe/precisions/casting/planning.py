"""Decides, node by node, which floating-point type a graph computes in. Purely structural: no weight is read.

A node computes in the asked type when ONNX's schema for its opset allows that type where its floats go, TensorRT takes
it, and nothing says otherwise. What says otherwise, in this order:

    the spec         a `keep` glob matches the node's name, or `op:TYPE` its operator
    a weight         that does not survive the type (found later, by `rewriting`, which has the weights)
    the source       float64 nodes compute in float32; float16 nodes stay, bfloat16 ones follow the asked type
    the operator     unknown to ONNX, or its schema or TensorRT refuses the type
    sizes            floats computed from shapes alone hold sizes and positions, which narrow types do not count exactly

Nodes that only move data (Reshape, Concat, Slice, …) compute nothing: a connected group of them follows its
neighbours, so that no cast is spent on them and none stands between two nodes of the same type.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import onnx_ir as ir

from trtpipe.errors import Problem, SpecPath
from trtpipe.precisions.casting.constants import constant_of
from trtpipe.precisions.casting.element_types import Types, element_types, graphs_of, subgraphs
from trtpipe.precisions.casting.signatures import FLOATS, Signature, is_standard, signature_of

NARROW = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})

MOVES_DATA = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape",
    "ReverseSequence", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators whose outputs hold elements of their inputs, or only their dims."""

TENSORRT_REFUSES_HALF = {
    "Celu": "TensorRT's parser mixes it with float32 constants",
    "MeanVarianceNormalization": "TensorRT's parser mixes it with float32 constants",
    "BlackmanWindow": "TensorRT makes it in float32 only",
    "HammingWindow": "TensorRT makes it in float32 only",
    "HannWindow": "TensorRT makes it in float32 only",
    "TensorScatter": "TensorRT updates a network input in place, and inputs keep their type",
}
"""Operators that ONNX allows in float16 and TensorRT's parser does not take in it (tried on TensorRT-RTX 1.7)."""

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


def plan_types(
    model: ir.Model, precision: ir.DataType, keep: Mapping[str, Sequence[str]], path: SpecPath = ()
) -> TypePlan:
    """The plan for computing in `precision`; `path` leads to the spec's `keep`. Weights may be missing."""
    forced, problems = kept_nodes(model, keep, path)
    return plan_around(model, precision, forced, problems)


def plan_around(
    model: ir.Model,
    precision: ir.DataType,
    forced: Mapping[str, NodeType],
    problems: Sequence[Problem] = (),
) -> TypePlan:
    """The plan for computing in `precision` where nodes are not forced into something else."""
    nodes = Decider(model, precision, forced).decide()
    return TypePlan(dtype_name(precision), nodes, tuple(problems), forced)


def dtype_name(dtype: ir.DataType) -> str:
    """`float32` for FLOAT; the others' own names in lower case."""
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype.name, dtype.name.lower())


def dtype_called(name: str) -> ir.DataType | None:
    """The float type of this name; None for `none` and `source`."""
    return next((dtype for dtype in FLOATS if dtype_name(dtype) == name), None)


def named_nodes(model: ir.Model) -> dict[str, ir.Node]:
    """Every node by its name; one without a name of its own goes by operator and first output."""
    found: dict[str, ir.Node] = {}
    for graph in graphs_of(model):
        for node in graph:
            name = node.name or f"{node.op_type}({node.outputs[0].name if node.outputs else ''})"
            while name in found:
                name += "'"
            found[name] = node
    return found


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


SPEC_NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""What the spec calls a float type → its name here."""


def kept_nodes(
    model: ir.Model, keep: Mapping[str, Sequence[str]], path: SpecPath
) -> tuple[dict[str, NodeType], list[Problem]]:
    """The nodes that globs of the spec hold in a type, by name; and the globs that match nothing."""
    nodes = named_nodes(model)
    forced: dict[str, NodeType] = {}
    problems = []
    for precision, globs in keep.items():
        for index, glob in enumerate(globs):
            matched = [name for name, node in nodes.items() if _matches(glob, name, node)]
            for name in matched:
                forced[name] = NodeType(nodes[name].op_type, SPEC_NAMES[precision], f"kept by '{glob}'")
            if not matched:
                problems.append(_matches_nothing(glob, nodes, (*path, precision, index)))
    return forced, problems


def _matches(glob: str, name: str, node: ir.Node) -> bool:
    if glob.startswith("op:"):
        return fnmatchcase(node.op_type, glob[3:])
    return fnmatchcase(name, glob)


def _matches_nothing(glob: str, nodes: dict[str, ir.Node], path: SpecPath) -> Problem:
    if glob.startswith("op:"):
        valid = sorted({node.op_type for node in nodes.values()})
        return Problem(
            f"no node of the model has operator '{glob[3:]}'", _names(glob[3:], valid, "operators"), path=path
        )
    return Problem(f"no node of the model matches '{glob}'", _names(glob, list(nodes), "nodes"), path=path)


def _names(wanted: str, valid: list[str], kind: str) -> str:
    close = difflib.get_close_matches(wanted.replace("*", ""), valid, n=3, cutoff=0.4) or valid[:3]
    shown = ", ".join(f"'{name}'" for name in (valid if len(valid) <= 12 else close))
    return f"the {kind} are {shown}" if len(valid) <= 12 else f"nearest of {len(valid)} {kind}: {shown}"


class Decider:
    """Decides for one model; `forced` holds nodes that the spec, or a weight, has already decided."""

    def __init__(self, model: ir.Model, precision: ir.DataType, forced: Mapping[str, NodeType]) -> None:
        self.precision = precision
        self.forced = forced
        self.names = named_nodes(model)
        self.types = element_types(model)
        self.opsets = dict(model.opset_imports)
        self.sizes = _computed_from_shapes(self.names.values())
        self.scanned = set(_inside_scans(self.names.values()))
        self.moving: dict[ir.Node, str] = {}

    def decide(self) -> dict[str, NodeType]:
        """Every node's type, in graph order."""
        decided = {name: self.one(name, node) for name, node in self.names.items()}
        by_node = {node: decided[name].dtype for name, node in self.names.items() if node not in self.moving}
        for group in self._groups():
            dtype = self._followed(group, by_node)
            for node in group:
                decided[self.moving[node]] = NodeType(node.op_type, *dtype)
        return decided

    def one(self, name: str, node: ir.Node) -> NodeType:
        """One node's type; those that only move data are noted for later."""
        own = self._source_type(node)
        if own is None:
            return NodeType(node.op_type, "none", "it has no float tensors")
        if node.op_type == "Constant" or is_transparent(node, self.types):
            return NodeType(node.op_type, "none")
        known = signature_of(node, self.opsets)
        why = self._untouchable(node, known)
        if why or known is None:
            return NodeType(node.op_type, "source", why)
        if name in self.forced:
            return self.forced[name]
        return self._by_source(name, node, own, known)

    def _untouchable(self, node: ir.Node, known: Signature | None) -> str:
        """Why a node's inputs and outputs keep the source's types whatever is asked; empty when they need not."""
        if subgraphs(node):
            return "control flow keeps the types of its branches' inputs and outputs"
        if known is None or not is_standard(node):
            return "it is no operator of ONNX's default domain"
        if node.op_type == "BitCast":
            return "its result depends on the width of its input"
        if not self._tensors_only(node, known):
            return "it handles sequences or optional values"
        unknown = [
            v
            for v in self._bound(node, known, float_variable(node, known, self.types))
            if v not in self.types
        ]
        return f"the type of '{unknown[0].name}' is not known" if unknown else ""

    def _by_source(self, name: str, node: ir.Node, own: ir.DataType, known: Signature) -> NodeType:
        wide = NodeType(node.op_type, "float32")
        if self.precision == ir.DataType.FLOAT:
            return (
                wide
                if known.allows(float_variable(node, known, self.types), ir.DataType.FLOAT)
                else self._as_is(node)
            )
        if own == ir.DataType.FLOAT16:
            return NodeType(node.op_type, dtype_name(own))
        why = self._refusal(node, own, known)
        if why:
            return NodeType(node.op_type, "float32", why)
        if self._moves_data(node):
            self.moving[node] = name
        return NodeType(node.op_type, dtype_name(self.precision))

    def _as_is(self, node: ir.Node) -> NodeType:
        return NodeType(node.op_type, "source", "its operator does not allow float32")

    def _refusal(self, node: ir.Node, own: ir.DataType, known: Signature) -> str:
        name = dtype_name(self.precision)
        if own == ir.DataType.DOUBLE:
            return "it is float64 in the source"
        if not known.allows(float_variable(node, known, self.types), self.precision):
            return f"ONNX does not allow {name} for {node.op_type} in opset {self.opsets.get(node.domain, 1)}"
        if self.precision == ir.DataType.FLOAT16 and node.op_type in TENSORRT_REFUSES_HALF:
            return TENSORRT_REFUSES_HALF[node.op_type]
        if node.op_type == "LSTM" and len(node.inputs) > 7 and node.inputs[7] is not None:
            return "TensorRT's parser mixes an LSTM's peepholes with float32 constants"
        if node in self.scanned:
            return "TensorRT's compiler fails on casts inside a Scan's body"
        sizes = node in self.sizes and node.op_type not in ("Shape", "Size")
        return "it computes sizes or positions from shapes" if sizes else ""

    def _moves_data(self, node: ir.Node) -> bool:
        return is_standard(node) and (node.op_type in MOVES_DATA or node.op_type == "Cast")

    def _tensors_only(self, node: ir.Node, known: Signature) -> bool:
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        if any(value.type is not None and not isinstance(value.type, ir.TensorType) for value in values):
            return False
        return all(known.may_be_tensor(known.output_variable(index)) for index in range(len(node.outputs)))

    def _source_type(self, node: ir.Node) -> ir.DataType | None:
        known = signature_of(node, self.opsets)
        variable = float_variable(node, known, self.types) if known else ""
        found = [self.types[v] for v in self._bound(node, known, variable) if self.types.get(v) in FLOATS]
        narrow = [dtype for dtype in found if dtype in NARROW]
        if narrow and len(narrow) == len(found):
            return narrow[0]
        return max(found, key=lambda dtype: dtype.itemsize, default=None)

    def _bound(self, node: ir.Node, known: Signature | None, variable: str) -> Iterator[ir.Value]:
        """The values that the deciding type name binds; all of them when there is no schema."""
        for index, value in enumerate(node.inputs):
            if value is not None and (known is None or known.input_variable(index) == variable):
                yield value
        for index, value in enumerate(node.outputs):
            if known is None or known.output_variable(index) == variable:
                yield value

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
