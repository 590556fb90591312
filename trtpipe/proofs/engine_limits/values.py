"""Access to a typed model for the engine rules: every value's type and shape, and which values are constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.opsets import opset_of
from trtpipe.canonical.tensors import dtype_name, graphs_of, nodes_of
from trtpipe.proofs.constant_values import ConstantValues

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.summary import Dim, TensorInfo


class TypedGraph:
    """Types, shapes and constants of a model's values. Reads no large weight and does not change the model."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto
        self.opset = opset_of(proto)
        self.constants = ConstantValues(proto)
        self._known: dict[str, TensorInfo] = infer_values(proto)
        inner = (tensor for graph in graphs_of(proto) for tensor in graph.initializer)
        self._weights = {tensor.name: dtype_name(tensor.data_type) for tensor in inner}
        self.inputs = {value.name for value in proto.graph.input} - self._weights.keys()

    def nodes(self) -> Iterator[NodeView]:
        """Every node, those of branches and bodies too."""
        return (NodeView(node, self) for node in nodes_of(self.proto))

    def weights(self) -> Iterator[tuple[str, str]]:
        """Every weight and constant with its type."""
        yield from self._weights.items()

    def dtype(self, name: str) -> str:
        """The type of a value; empty when it is not known."""
        if name in self._weights:
            return self._weights[name]
        info = self._known.get(name)
        return info.dtype if info is not None and info.dtype != "undefined" else ""

    def dims(self, name: str) -> tuple[Dim, ...] | None:
        """The sizes of a value; None when not even its rank is known."""
        info = self._known.get(name)
        return info.dims if info is not None else None


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node with the types, shapes and constants of its operands."""

    node: onnx.NodeProto
    graph: TypedGraph

    @property
    def op(self) -> str:
        """The operator's name, the only thing by which TensorRT's parser identifies it."""
        return str(self.node.op_type)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.node.input) and bool(self.node.input[index])

    def dtype(self, index: int) -> str:
        """The type of an input; empty when it is not given or not known."""
        return self.graph.dtype(self.node.input[index]) if self.has(index) else ""

    def rank(self, index: int) -> int | None:
        """How many dimensions an input has; None when that is not known."""
        dims = self.graph.dims(self.node.input[index]) if self.has(index) else None
        return None if dims is None else len(dims)

    def dims(self, index: int) -> tuple[Dim, ...] | None:
        """The sizes of an input; None when not even its rank is known."""
        return self.graph.dims(self.node.input[index]) if self.has(index) else None

    def varies(self, index: int) -> bool:
        """Whether an input is given and not constant."""
        return self.has(index) and self.node.input[index] not in self.graph.constants

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute that is a whole number."""
        return integer_of(self.node, name, default)

    def text(self, name: str, default: str) -> str:
        """An attribute that is text."""
        value = attribute_of(self.node, name)
        return value.decode(errors="replace") if isinstance(value, bytes) else default
