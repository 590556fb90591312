"""Infers the types of values node by node in graph order, for rewrite rules that need them.

ONNX's inference over a whole model stops at operators that it does not know. Here, rules have already replaced those by
standard operators when their consumers are visited, so types are known further down the graph. Reads no large weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.constants import tensor_of_constant
from trtpipe.canonical.summary import Dim, TensorInfo, tensor_info
from trtpipe.canonical.tensors import is_external
from trtpipe.errors import ModelError

if TYPE_CHECKING:
    import onnx

_SHAPED = ("ConstantOfShape", "Expand", "Reshape")
"""Operators whose last input is a shape: its length is the result's rank."""
_MOST_VALUES = 64
"""Constants of more elements are no shapes, axes or pads."""


def held_by(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None for another node, and for one that the checker will reject."""
    if node.op_type != "Constant" or node.domain or not node.attribute or not node.output:
        return None
    try:
        return tensor_of_constant(node)
    except (TypeError, ValueError, ModelError):
        return None


def constants_in(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """The constants of a graph by name: its initializers, then what its Constant nodes hold."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        held = held_by(node)
        if held is not None:
            yield node.output[0], held


class NodeTypes:
    """The known types and shapes of values; enter graphs first, then learn their nodes in order."""

    def __init__(self, opsets: Mapping[str, int]) -> None:
        self._opsets = dict(opsets)
        self._types: dict[str, onnx.TypeProto] = {}
        self._values: dict[str, onnx.TensorProto] = {}

    def copy(self) -> NodeTypes:
        """A copy, to continue from in a nested graph."""
        made = NodeTypes(self._opsets)
        made._types, made._values = dict(self._types), dict(self._values)
        return made

    def enter(self, graph: onnx.GraphProto) -> None:
        """Learns a graph's inputs and constants, and the declared types of results that cannot be inferred."""
        for value in (*graph.value_info, *graph.output, *graph.input):
            if value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.elem_type:
                self._types[value.name] = value.type
        for tensor in graph.initializer:
            self._learn_constant(tensor.name, tensor)

    def learn(self, node: onnx.NodeProto) -> None:
        """Infers a node's outputs from its inputs; what cannot be inferred stays as declared."""
        import onnx

        tensor = held_by(node)
        if tensor is not None:
            self._learn_constant(node.output[0], tensor)
            return
        if node.domain not in ("", "ai.onnx") or any(name and name not in self._types for name in node.input):
            return
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opsets.get("", 1), "")
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self._types[name] for name in node.input if name},
                {name: self._values[name] for name in node.input if name in self._values},
                opset_imports=[onnx.helper.make_opsetid("", self._opsets.get("", 1))],
            )
        except (
            RuntimeError,
            ValueError,
            KeyError,
            TypeError,
            onnx.defs.SchemaError,
            onnx.checker.ValidationError,
            onnx.shape_inference.InferenceError,
        ):
            return  # errors are reported by the inference over the whole model
        self._types.update(found)
        if node.op_type in _SHAPED and node.input and node.output:
            self._give_rank(node)

    def take_over(self, name: str, other: str, *, truth: bool = False) -> None:
        """Records this value's type for another one of unknown type; with `truth`, the same shape as booleans."""
        import onnx

        if name not in self._types or other in self._types:
            return
        made = onnx.TypeProto()
        made.CopyFrom(self._types[name])
        if truth:
            made.tensor_type.elem_type = onnx.TensorProto.BOOL
        self._types[other] = made

    def info(self, name: str) -> TensorInfo | None:
        """The name, type and dims of a value, as far as known."""
        return tensor_info(self.described(name)) if name in self._types else None

    def described(self, name: str) -> onnx.ValueInfoProto:
        """A known value as a graph declares it."""
        import onnx

        made: onnx.ValueInfoProto = onnx.ValueInfoProto(name=name, type=self._types[name])
        return made

    def dtype(self, name: str) -> str:
        """A value's type; `undefined` when it is not known."""
        info = self.info(name)
        return info.dtype if info else "undefined"

    def dims(self, name: str) -> tuple[Dim, ...] | None:
        """A value's dims; None when not even the rank is known."""
        info = self.info(name)
        return info.dims if info else None

    def rank(self, name: str) -> int | None:
        """How many axes a value has; None when that is not known."""
        dims = self.dims(name)
        return None if dims is None else len(dims)

    def size(self, name: str, axis: int) -> int | None:
        """A value's fixed size along an axis; None when it is not known or not fixed."""
        dims = self.dims(name)
        if dims is None or not -len(dims) <= axis < len(dims):
            return None
        found = dims[axis]
        return found if isinstance(found, int) else None

    def _learn_constant(self, name: str, tensor: onnx.TensorProto) -> None:
        import onnx

        self._types[name] = onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        if not is_external(tensor) and _count(tensor.dims) <= _MOST_VALUES:
            self._values[name] = tensor

    def _give_rank(self, node: onnx.NodeProto) -> None:
        """Gives a result of unknown sizes its rank; Expand can only make ranks larger."""
        made = self._types.get(node.output[0])
        length = self.size(node.input[-1], 0)
        if made is None or length is None or made.tensor_type.HasField("shape"):
            return
        more = (self.rank(node.input[0]) or 0) if node.op_type == "Expand" else 0
        made.tensor_type.shape.SetInParent()
        for _ in range(max(length, more)):
            made.tensor_type.shape.dim.add()


def _count(dims: Iterable[int]) -> int:
    count = 1
    for dim in dims:
        count *= dim
    return count
