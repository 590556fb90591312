"""The interface of rewrite rules: what a rule can query of the model, and how it creates nodes and constants.

Independent of any operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trtpipe.canonical.constants import constants_of, tensor_of_constant
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.opsets import opset_of
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import array_of, dtype_name, graphs_of, nbytes_of, nodes_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.canonical.builder import Attribute

LARGEST = 64 << 20
"""Constants of more bytes are not computed anew: they would have to be held in memory."""


@dataclass
class Scope:
    """A model's types and constants; `made` are the constants that rules have added."""

    types: dict[str, TensorInfo]
    constants: dict[str, onnx.TensorProto]
    names: FreshNames
    magnitudes: frozenset[str]
    """Tensors that Abs makes."""
    inputs: frozenset[str]
    """The model's inputs."""
    opset: int = 0
    made: list[onnx.TensorProto] = field(default_factory=list)
    unrounded: dict[str, str] = field(default_factory=dict)
    """Tensors of whole numbers, and floating-point tensors of the same values."""

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Scope:
        """The scope of a model in which every value has a unique name."""
        constants = constants_of(model) | _inner_constants(model)
        types = infer_values(model)
        for name, tensor in constants.items():
            types.setdefault(name, TensorInfo(name, dtype_name(tensor.data_type), tuple(tensor.dims)))
        taken = {name for node in nodes_of(model) for name in (*node.input, *node.output)}
        inner = (value.name for graph in graphs_of(model) for value in (*graph.input, *graph.initializer))
        magnitudes = frozenset(node.output[0] for node in nodes_of(model) if node.op_type == "Abs")
        names = FreshNames(taken | set(types) | set(inner))
        inputs = frozenset(value.name for value in model.graph.input)
        return cls(types, constants, names, magnitudes, inputs, opset_of(model))

    def dtype(self, name: str) -> str:
        """A value's type; `undefined` when it is not known."""
        return self.types[name].dtype if name in self.types else "undefined"

    def retype(self, name: str, dtype: str) -> None:
        """Records that a value has this type."""
        self.types[name] = replace(self.types.get(name, TensorInfo(name, dtype, None)), dtype=dtype)

    def rank(self, name: str) -> int | None:
        """How many axes a value has; None when that is not known."""
        info = self.types.get(name)
        return None if info is None or info.dims is None else len(info.dims)

    def sizes(self, name: str) -> list[int | None]:
        """A value's sizes, None for those that are not fixed; empty where not even the rank is known."""
        info = self.types.get(name)
        return [size if isinstance(size, int) else None for size in (info.dims or ())] if info else []

    def array(self, name: str) -> Array | None:
        """A constant's values; None if it is not a constant or is very large."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type == tensor.STRING or nbytes_of(tensor) > LARGEST:
            return None
        return array_of(tensor)

    def constant(self, wanted: str, array: Array) -> str:
        """Adds a constant; returns its name, which is `wanted`, with a suffix if that is taken."""
        import onnx

        tensor: onnx.TensorProto = onnx.numpy_helper.from_array(array, self.names(wanted))
        self.made.append(tensor)
        self.constants[tensor.name] = tensor
        return str(tensor.name)

    def node(
        self, operator: str, inputs: Sequence[str], near: str, **attributes: Attribute
    ) -> onnx.NodeProto:
        """Creates a node with one output, named after `near`."""
        return named(operator, inputs, [self.names(f"{near}/{operator.lower()}")], "", **attributes)


def _inner_constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The small constants in nested graphs."""
    _, *inner = graphs_of(model)
    held = {tensor.name: tensor for graph in inner for tensor in graph.initializer}
    for node in (node for graph in inner for node in graph.node if node.op_type == "Constant"):
        tensor = None if node.domain else tensor_of_constant(node)
        if tensor is not None:
            held[node.output[0]] = tensor
    return held


def named(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "", **attributes: Attribute
) -> onnx.NodeProto:
    """A node with exactly these output names; `name` is the name of the node that it replaces."""
    import onnx

    made: onnx.NodeProto = onnx.helper.make_node(
        operator, list(inputs), list(outputs), name=name or None, **attributes
    )
    return made


def changed(node: onnx.NodeProto, *without: str, **attributes: Attribute) -> onnx.NodeProto:
    """A copy of a node with these attributes set and those in `without` removed."""
    import onnx

    made = onnx.NodeProto()
    made.CopyFrom(node)
    gone = {*without, *attributes}
    kept = [attribute for attribute in node.attribute if attribute.name not in gone]
    del made.attribute[:]
    made.attribute.extend(kept)
    made.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())
    return made
