"""Compares a parsed network with the ONNX model without computing anything: types, ranks and sizes.

Tensors and constants are matched by name. Sizes that ONNX's inference cannot compute, or that TensorRT knows only when
the engine runs, are not compared. The contents of loop bodies and branches are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.tensors import dtype_name
from trtpipe.networks.lowering.scope import dtype_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.json_values import Json
    from trtpipe.networks.network import Layer, ParsedNetwork, Tensor

_WEIGHTS_OF_INPUTS = {"kernel": 1, "bias": 2}
"""A layer's weights, and which input of its ONNX node they come from."""
_UNKNOWN = "undefined"
_SAME_BITS = {("uint8", "float8_e8m0fnu")}
"""Types of the model and of TensorRT that hold the same: ONNX's operators of mxfp8 keep scales as bytes."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A difference between a network and its model."""

    what: str
    """`tensor`, `output` or `weights`."""
    name: str
    node: str | None
    """The ONNX node that it belongs to."""
    why: str

    def to_json(self) -> dict[str, Json]:
        """Plain data for a report."""
        return {"what": self.what, "name": self.name, "node": self.node, "why": self.why}


def misfits(model: onnx.ModelProto, network: ParsedNetwork) -> list[Misfit]:
    """The differences between the network and the model: tensors in the model's order, then weights."""
    return [*_tensors(model, network), *_weights(model, network)]


def _tensors(model: onnx.ModelProto, network: ParsedNetwork) -> Iterator[Misfit]:
    known = infer_values(model)
    outputs = [value.name for value in model.graph.output]
    made = [(name, node) for node in model.graph.node for name in node.output if name]
    for name, node in made:
        what = "output" if name in outputs else "tensor"
        called = node.name or node.op_type
        if name in network.tensors and name in known:
            why = _unlike(known[name], network.tensors[name])
            if why:
                yield Misfit(what, name, called, why)
    for name in outputs:
        if name not in network.outputs:
            yield Misfit("output", name, None, "is not an output of the network")


def _unlike(info: TensorInfo, tensor: Tensor) -> str:
    """How a tensor differs; empty if no difference is known."""
    dtype = dtype_of(tensor.dtype)
    if info.dtype != _UNKNOWN and not _same(info.dtype, dtype):
        return f"is {dtype} instead of {info.dtype}"
    if info.dims is None or tensor.shape is None:
        return ""
    if len(info.dims) != len(tensor.shape):
        return f"has {len(tensor.shape)} dimensions instead of {len(info.dims)}"
    pairs = zip(info.dims, tensor.shape, strict=True)
    if any(isinstance(size, int) and found not in (-1, size) for size, found in pairs):
        return f"is {_sizes(tensor.shape)} instead of {_sizes(info.dims)}"
    return ""


def _same(wanted: str, found: str) -> bool:
    return wanted == found or (wanted, found) in _SAME_BITS


def _sizes(dims: Sequence[int | str | None]) -> str:
    """Sizes as text, with question marks for those known only when the engine runs."""
    return "x".join(str(size) if isinstance(size, int) and size >= 0 else "?" for size in dims)


def _weights(model: onnx.ModelProto, network: ParsedNetwork) -> Iterator[Misfit]:
    constants = {one.name: one for one in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node if node.name}
    for layer in network.layers:
        for attribute, name in _named(layer, nodes, constants):
            ref, constant = layer.weights[attribute], constants[name]
            wanted, found = dtype_name(constant.data_type), dtype_of(ref.dtype)
            if ref.count and not _same(wanted, found):
                yield Misfit("weights", name, layer.node, f"are {found} instead of {wanted}")


def _named(
    layer: Layer, nodes: Mapping[str, onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> Iterator[tuple[str, str]]:
    """A layer's weights by attribute, with the model's constants of the same name."""
    if layer.type == "CONSTANT" and layer.name in constants and "weights" in layer.weights:
        yield "weights", layer.name
    node = nodes.get(layer.node or "")
    if node is None or node.op_type not in ("Conv", "ConvTranspose"):
        return
    for attribute, index in _WEIGHTS_OF_INPUTS.items():
        if attribute in layer.weights and index < len(node.input) and node.input[index] in constants:
            yield attribute, node.input[index]
