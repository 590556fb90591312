"""The nodes of a model as it was read that import will expand, so that checks do not reject what import fixes.

Uses the import's own rules, on a copy with the input shapes that the spec sets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.constants import lift_constants
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.opsets import OLDEST, opset_of, upgrade
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import graphs_of, nodes_of
from trtpipe.legalization.misreadings import rewrite_misread

if TYPE_CHECKING:
    import onnx


def written_out(
    model: onnx.ModelProto, inputs: Sequence[TensorInfo], candidates: Iterable[onnx.NodeProto]
) -> Collection[str]:
    """The outputs of the candidates that an import of `model`, with inputs of these shapes, expands.

    A Resize whose computed sizes turn out to be fixed is assumed to be expanded; only folding could verify that.
    """
    wanted = {node.output[0]: node.SerializeToString() for node in candidates}
    if not wanted:
        return frozenset()
    copy = type(model)()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        _reshape(value, inputs)
    if opset_of(copy) < OLDEST:
        upgrade(copy)
    lift_constants(copy)
    resized = _resized(copy, wanted)
    rewrite_misread(copy)
    left = {
        node.output[0] for node in nodes_of(copy) if wanted.get(node.output[0]) == node.SerializeToString()
    }
    return (wanted.keys() - left) | resized


def _reshape(value: onnx.ValueInfoProto, inputs: Sequence[TensorInfo]) -> None:
    info = next((one for one in inputs if one.name == value.name), None)
    if info is None or info.dims is None:
        return
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for size in info.dims:
        shape.dim.add(**({"dim_value": size} if isinstance(size, int) else {"dim_param": size or ""}))


def _resized(model: onnx.ModelProto, wanted: Collection[str]) -> set[str]:
    """Resizes among them whose sizes are computed, but whose input and output sizes are known."""
    constants = {tensor.name for graph in graphs_of(model) for tensor in graph.initializer}
    nodes = [node for node in nodes_of(model) if node.op_type == "Resize" and node.output[0] in wanted]
    computed = [node for node in nodes if not constants & set(filter(None, node.input[2:]))]
    types = infer_values(model) if computed else {}
    return {
        node.output[0]
        for node in computed
        if all(
            name in types and all(isinstance(size, int) for size in (types[name].dims or (None,))[1:])
            for name in (node.input[0], node.output[0])
        )
    }
