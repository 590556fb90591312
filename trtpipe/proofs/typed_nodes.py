"""The types that a typed model computes in, for target rules: each node's types and ranks, and all types used.

Taken either from an existing typed model, or from a source model with the types that a precision's plan assigns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import dtype_name, graphs_of
from trtpipe.targets.types_by_gpu import TypedNode

if TYPE_CHECKING:
    import onnx

_WIDE_FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})


@dataclass(frozen=True, slots=True)
class TypedModel:
    """The nodes of a typed model, and the types of its inputs."""

    nodes: tuple[TypedNode, ...]
    inputs: frozenset[str]
    block: int = 0
    """How many elements of a weight share a scale where they are quantized alone; 0 where they are not."""

    @property
    def dtypes(self) -> frozenset[str]:
        """Every type that a node reads."""
        return self.inputs.union(*(node.dtypes for node in self.nodes))

    def reading(self, names: Collection[str], dtype: str, block: int = 0) -> TypedModel:
        """The same, with these nodes also reading the type in which their operands are quantized in blocks."""
        wanted = frozenset(names)
        nodes = (n._replace(dtypes=(*n.dtypes, dtype)) if n.name in wanted else n for n in self.nodes)
        return TypedModel(tuple(nodes), self.inputs, block)

    def joined(self, other: TypedModel) -> TypedModel:
        """The union of both; a node occurs once for each combination of types in which it may compute."""
        return TypedModel(tuple(dict.fromkeys((*self.nodes, *other.nodes))), self.inputs | other.inputs)

    def only(self, names: Collection[str]) -> TypedModel:
        """The same with these nodes only."""
        kept = tuple(node for node in self.nodes if node.name in names)
        return TypedModel(kept, self.inputs, self.block)


def typed_model(
    proto: onnx.ModelProto, inferred: Inferred, computed: Mapping[str, str] | None = None
) -> TypedModel:
    """The types of `proto`, whose values were inferred at any corner.

    `computed` are the types that a plan gives to nodes, by name; `none` and `source` leave a node as it is.
    """
    return SourceTypes(proto, inferred).computed_in(computed or {})


class SourceTypes:
    """The types of a model's nodes in the source, to which the types of several plans can be applied."""

    def __init__(self, proto: onnx.ModelProto, inferred: Inferred) -> None:
        known = dict(inferred.values)
        for graph in graphs_of(proto):
            for tensor in graph.initializer:
                known[tensor.name] = TensorInfo(tensor.name, dtype_name(tensor.data_type), tuple(tensor.dims))
        self._nodes = [_of_source(node, known) for graph in graphs_of(proto) for node in graph.node]
        self._inputs = frozenset(
            known[value.name].dtype for value in proto.graph.input if value.name in known
        )
        self._made: dict[tuple[int, str], TypedNode] = {}

    def computed_in(self, plan: Mapping[str, str]) -> TypedModel:
        """The typed model of a plan, which has types by the names of nodes."""
        nodes = (self._typed(index, plan.get(node.name, "source")) for index, node in enumerate(self._nodes))
        return TypedModel(tuple(nodes), self._inputs)

    def _typed(self, index: int, chosen: str) -> TypedNode:
        key = (index, chosen)
        if key not in self._made:
            self._made[key] = _typed(self._nodes[index], chosen)
        return self._made[key]


def _of_source(node: onnx.NodeProto, known: Mapping[str, TensorInfo]) -> TypedNode:
    infos = [known[name] for name in node.input if name in known]
    first = infos[0].dims if infos and node.input[0] == infos[0].name else None
    dtypes = tuple(info.dtype for info in infos)
    return TypedNode(called(node), str(node.op_type), dtypes, None if first is None else len(first))


def _typed(node: TypedNode, chosen: str) -> TypedNode:
    if chosen == "none" and node.op_type == "Cast":  # the Cast is removed, so its source type is not used
        return node._replace(dtypes=tuple(one for one in node.dtypes if one not in _WIDE_FLOATS))
    if chosen in ("none", "source"):
        return node
    return node._replace(dtypes=tuple(chosen if one in _WIDE_FLOATS else one for one in node.dtypes))


def called(node: onnx.NodeProto) -> str:
    """The node's name; operator and first output for an unnamed one, as in precisions."""
    return str(node.name) or f"{node.op_type}({node.output[0] if node.output else ''})"
