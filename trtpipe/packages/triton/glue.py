"""An edge that reshapes or casts, as a model of its own: an ensemble passes tensors on exactly as they are.

The model is ONNX with a Reshape and a Cast, and Triton's ONNX Runtime backend runs it, whatever runs the members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.json_values import JsonObject, integers_in, text_in
from trtpipe.packages.index import Tensor
from trtpipe.packages.triton.config import ModelConfig

if TYPE_CHECKING:
    import onnx

GIVEN, TAKEN = "given", "taken"
_FILE = "model.onnx"
_OPSET, _IR_VERSION = 17, 8  # old ones, which every server reads; nothing here changed since


@dataclass(frozen=True, slots=True)
class Glue:
    """The model of one edge."""

    config: ModelConfig
    file: str
    content: bytes


def changes(edge: JsonObject) -> bool:
    """Whether an edge does something to the tensor on its way."""
    return edge.get("reshape") is not None or edge.get("cast") is not None


def glue_of(edge: JsonObject, name: str, given: Tensor, taken: Tensor, batch: int) -> Glue:
    """The model between two tensors of members. `batch`: the largest that both members take. Raises Malformed."""
    proto = _model(edge, given, taken)
    whole = batch if batch and _keeps_batch(proto, given) else 0
    tensors = (_named(given, GIVEN), _named(taken, TAKEN))
    config = ModelConfig(name, "onnxruntime", tensors[:1], tensors[1:], whole, default_file=_FILE)
    return Glue(config, _FILE, proto.SerializeToString(deterministic=True))


def _named(tensor: Tensor, name: str) -> Tensor:
    return Tensor(name, tensor.dtype, tensor.shape)


def _model(edge: JsonObject, given: Tensor, taken: Tensor) -> onnx.ModelProto:
    from onnx import helper, numpy_helper

    nodes, at, constants = [], GIVEN, []
    if edge.get("reshape") is not None:
        import numpy as np

        constants = [numpy_helper.from_array(np.asarray(integers_in(edge, "reshape"), np.int64), "shape")]
        nodes.append(helper.make_node("Reshape", [at, "shape"], ["reshaped"], name="reshape"))
        at = "reshaped"
    kind = _element_type(text_in(edge, "cast") if edge.get("cast") is not None else given.dtype)
    nodes.append(helper.make_node("Cast", [at], [TAKEN], name="cast", to=kind))
    ports = [_port(GIVEN, given, _element_type(given.dtype)), _port(TAKEN, taken, kind)]
    graph = helper.make_graph(nodes, "edge", ports[:1], ports[1:], constants)
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="trtpipe")


def _port(name: str, tensor: Tensor, kind: int) -> onnx.ValueInfoProto:
    from onnx import helper

    dims = [f"{name}_{axis}" if dim == -1 else dim for axis, dim in enumerate(tensor.shape)]
    return helper.make_tensor_value_info(name, kind, dims)


def _element_type(dtype: str) -> int:
    from onnx import TensorProto

    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    return int(TensorProto.DataType.Value(names.get(dtype, dtype.upper())))


def _keeps_batch(proto: onnx.ModelProto, given: Tensor) -> bool:
    """Whether the first dimension passes through unchanged, by shape inference at two sizes."""
    from trtpipe.canonical.inference import infer_at

    if not given.shape or given.shape[0] != -1:
        return False
    for batch in (2, 3):
        shape = (batch, *(6 if dim == -1 else dim for dim in given.shape[1:]))
        found = infer_at(proto, {GIVEN: shape}).shape(TAKEN)
        if not found or found[0] != batch:
            return False
    return True
