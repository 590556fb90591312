"""The names in a model that a cache may use: tensors, nodes, and which node each TensorRT layer corresponds to.

Reads the main graph of a model, no weights and no attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

LAYER_KINDS: Mapping[str, frozenset[str]] = {
    "convolution": frozenset({"Conv"}),
    "deconvolution": frozenset({"ConvTranspose"}),
    "fullyconnected": frozenset({"Gemm", "MatMul"}),
    "matrixmultiply": frozenset({"Gemm", "MatMul"}),
    "activation": frozenset(
        {"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Softplus", "Softsign", "Clip", "HardSigmoid"}
    ),
    "parametricrelu": frozenset({"PRelu"}),
    "pooling": frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}),
    "scale": frozenset({"BatchNormalization"}),
    "lrn": frozenset({"LRN"}),
    "softmax": frozenset({"Softmax"}),
    "concatenation": frozenset({"Concat"}),
}
"""Kind of layer in the names that TensorRT gives, letters only and in lower case → the operators that become one."""


@dataclass(frozen=True, slots=True)
class NodeNames:
    """A node: its name, its operator, the tensors that it reads and those that it makes."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class ModelNames:
    """The names of a model's main graph."""

    tensors: frozenset[str]
    """Inputs, and what nodes make: what an activation may be called."""
    constants: frozenset[str]
    nodes: tuple[NodeNames, ...] = field(default=())
    """In the graph's order."""

    def outputs_of_nodes(self) -> dict[str, str]:
        """Unique name of a node → its only output."""
        counts = Counter(node.name for node in self.nodes)
        return {
            node.name: node.outputs[0]
            for node in self.nodes
            if node.name and counts[node.name] == 1 and len(node.outputs) == 1
        }


def names_of(model: onnx.ModelProto) -> ModelNames:
    """The names of a model's main graph."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    tensors = {value.name for value in graph.input} | {name for node in graph.node for name in node.output}
    return ModelNames(
        frozenset(tensors - constants - {""}), frozenset(constants - {""}), tuple(_nodes(graph))
    )


def _nodes(graph: onnx.GraphProto) -> Iterator[NodeNames]:
    for node in graph.node:
        outputs = tuple(name for name in node.output if name)
        yield NodeNames(node.name, node.op_type, tuple(name for name in node.input if name), outputs)
