"""The type each node would compute in, from the source, its operator and sizes alone, and the facts used to decide it.

Computed once for a graph and shared by all that decide on it; `type_plan` then adds what the spec, the data and the
defaults require.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import onnx_ir as ir

from trtpipe.precisions.casts.constants import constant_of
from trtpipe.precisions.casts.defaults import wide_by_default
from trtpipe.precisions.casts.element_types import Types, element_types, subgraphs
from trtpipe.precisions.casts.kept_nodes import named_nodes
from trtpipe.precisions.casts.limits import tensorrt_refuses
from trtpipe.precisions.casts.signatures import FLOATS, Signature, is_standard, signature_of

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
    """The type that one node computes in, and the reason when that is not the requested type."""

    op_type: str
    dtype: str
    """`float16`, `float32`, …; `none` for a node without floats, `source` for one that stays unchanged."""
    reason: str = ""


def dtype_name(dtype: ir.DataType) -> str:
    """`float32` for FLOAT; the others' own names in lower case."""
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype.name, dtype.name.lower())


def is_transparent(node: ir.Node | None, types: Types) -> bool:
    """Whether a node is a Cast between float types: such casts are removed and inserted again where needed."""
    if node is None or node.op_type != "Cast" or not is_standard(node):
        return False
    source = node.inputs[0]
    return source is not None and types.get(source) in FLOATS and types.get(node.outputs[0]) in FLOATS


def float_variable(node: ir.Node, known: Signature, types: Types) -> str:
    """The type name that decides what a node computes in: its first float output's, else its first float input's."""
    for index, output in enumerate(node.outputs):
        if types.get(output) in FLOATS:
            return known.output_variable(index)
    for index, value in enumerate(node.inputs):
        if value is not None and types.get(value) in FLOATS:
            return known.input_variable(index)
    return ""


class GraphFacts:
    """Facts about an unchanging model that decisions are based on; computed once and shared."""

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
        """Nodes that compute from shapes only."""
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
        """The type each node would compute in, given only the source, its operator and sizes."""
        if precision not in self._free:
            found = _FreeTypes(self, precision)
            self._free[precision] = {name: found.one(node) for name, node in self.names.items()}
        return self._free[precision]


class FreeType(NamedTuple):
    """The type a node would compute in before the spec, the data and the defaults are considered."""

    type: NodeType
    settled: bool = False
    """Whether nothing may change it, not even the spec."""
    advisable: bool = False
    """Whether data and defaults may put it in float32."""
    moves: bool = False
    """Whether it only moves data, and so follows its neighbours."""
    refused: str = ""
    """Why TensorRT does not accept it in the requested type."""


class _FreeTypes:
    """Decides each node's type from the source, its operator and sizes only."""

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
        """Why a node's inputs and outputs must keep the source's types in any case; empty when they need not."""
        if subgraphs(node):
            return "control flow keeps the types of its branches' inputs and outputs"
        if known is None or not is_standard(node):
            return "it is not an operator of ONNX's default domain"
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
        """Why a node cannot compute in the requested type, and whether TensorRT rejects it."""
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
    """The values whose type is the deciding type variable; all values when there is no schema."""
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
