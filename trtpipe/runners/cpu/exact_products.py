"""Converts int8 weights to uint8 for ONNX Runtime, whose products of uint8 and int8 are wrong on some processors.

On x86-64 without VNNI its kernels add two products of uint8 and int8 in 16 bits, with saturation; those of uint8 and
uint8 add in 32 bits. Adding 128 to a number and to its zero point leaves their difference unchanged, so the copy
computes with the same integers as the model. ONNX Runtime has an option for this (`session.x64quantprecision`), which
has no effect while its optimizations are off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.node_types import constants_in
from trtpipe.canonical.tensors import has_size, nbytes_of
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.narrow_weights import array_in

if TYPE_CHECKING:
    import onnx

    Constants = Mapping[str, onnx.TensorProto]

_WEIGHTS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "ConvInteger": ((1, 3),),
    "DynamicQuantizeLSTM": ((1, 9), (2, 11)),
    "DynamicQuantizeMatMul": ((1, 3),),
    "MatMulInteger": ((1, 3),),
    "MatMulIntegerToFloat": ((1, 5),),
    "QGemm": ((3, 5),),
    "QLinearConv": ((3, 5),),
    "QLinearMatMul": ((3, 5),),
}
"""Operator → the positions of its weights and of their zero points."""
_ALWAYS_UNSIGNED = ("DynamicQuantizeLSTM", "DynamicQuantizeMatMul")
"""Operators whose other factor is always uint8; for the others that must be known from the model."""
_MIDDLE = 128
_LARGEST = 1 << 30
"""Larger models are run unchanged, because a model in memory cannot exceed 2 GiB."""


def with_unsigned_weights(model: RunnableModel) -> RunnableModel:
    """A copy whose int8 weights are uint8 where ONNX Runtime multiplies them; the same model if there are none."""
    import onnx

    if not any(node.op_type in _WEIGHTS for node in model.proto.graph.node):
        return model
    constants = dict(constants_in(model.proto.graph))
    found = list(_signed(model, constants))
    names = {node.input[weights] for node, weights, _ in found}
    if not found or sum(nbytes_of(constants[name]) for name in names) > _LARGEST:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    places = {id(node): index for index, node in enumerate(model.proto.graph.node)}
    for node, weights, zero in found:
        changed = copy.graph.node[places[id(node)]]
        changed.input.extend([""] * (zero + 1 - len(changed.input)))
        for index in (weights, zero):
            changed.input[index] = _unsigned(copy.graph, constants, changed.input[index], model)
    return RunnableModel(copy, model.folder, model.path)


def _signed(model: RunnableModel, constants: Constants) -> Iterator[tuple[onnx.NodeProto, int, int]]:
    """Nodes with constant int8 weights and zero points, and the input positions of both."""
    for node in model.proto.graph.node:
        for weights, zero in _WEIGHTS.get(node.op_type, ()):
            known = model.values.get(node.input[0])
            unsigned = node.op_type in _ALWAYS_UNSIGNED or (known is not None and known.dtype == "uint8")
            point = node.input[zero] if zero < len(node.input) else ""
            whole = all(_is_int8(constants.get(name)) for name in (node.input[weights], point) if name)
            if unsigned and whole:
                yield node, weights, zero


def _is_int8(tensor: onnx.TensorProto | None) -> bool:
    return tensor is not None and tensor.data_type == tensor.INT8 and has_size(tensor)


def _unsigned(graph: onnx.GraphProto, constants: Constants, name: str, model: RunnableModel) -> str:
    """Adds the constant plus 128 and returns its name; a missing zero point counts as 0."""
    import numpy as np
    import onnx

    made = f"{name}/unsigned"
    if not any(one.name == made for one in graph.initializer):
        held = array_in(constants[name], model.folder) if name else np.zeros((), np.int8)
        more = (held.astype(np.int16) + _MIDDLE).astype(np.uint8)
        graph.initializer.append(onnx.numpy_helper.from_array(more, made))
    return made
