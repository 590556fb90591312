"""What a typed model computes in, as the rules for targets need it: each node's types and ranks, and all types in use.

Either of a typed model as it is, or of a source model with the types that a precision's plan gives its nodes.
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
        """The same, with these nodes reading a further type: what quantized operands are kept in, in blocks."""
        wanted = frozenset(names)
        nodes = (n._replace(dtypes=(*n.dtypes, dtype)) if n.name in wanted else n for n in self.nodes)
        return TypedModel(tuple(nodes), self.inputs, block)

    def joined(self, other: TypedModel) -> TypedModel:
        """What either computes in, each node once for every way in which it may be computed."""
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
    known = dict(inferred.values)
    for graph in graphs_of(proto):
        for tensor in graph.initializer:
            known[tensor.name] = TensorInfo(tensor.name, dtype_name(tensor.data_type), tuple(tensor.dims))
    plan = computed or {}
    nodes = tuple(_typed(node, known, plan) for graph in graphs_of(proto) for node in graph.node)
    borders = frozenset(known[value.name].dtype for value in proto.graph.input if value.name in known)
    return TypedModel(nodes, borders)


def _typed(node: onnx.NodeProto, known: Mapping[str, TensorInfo], plan: Mapping[str, str]) -> TypedNode:
    infos = [known[name] for name in node.input if name in known]
    name = called(node)
    chosen = plan.get(name, "source")
    dtypes = [info.dtype for info in infos]
    if chosen == "none" and node.op_type == "Cast":
        dtypes = [
            dtype for dtype in dtypes if dtype not in _WIDE_FLOATS
        ]  # it goes, with the type it casts from
    elif chosen not in ("none", "source"):
        dtypes = [chosen if dtype in _WIDE_FLOATS else dtype for dtype in dtypes]
    first = infos[0].dims if infos and node.input[0] == infos[0].name else None
    return TypedNode(name, str(node.op_type), tuple(dtypes), None if first is None else len(first))


def called(node: onnx.NodeProto) -> str:
    """The node's name; operator and first output for one that has none, as precisions call it."""
    return str(node.name) or f"{node.op_type}({node.output[0] if node.output else ''})"
