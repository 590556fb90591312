"""Removes nodes and outputs that have no effect: identities, dropout at inference, outputs that nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.constants import constants_of
from trtpipe.canonical.edits import keep_nodes, rename_reads, uses
from trtpipe.canonical.tensors import array_of, graphs_of

if TYPE_CHECKING:
    import onnx


def trim(model: onnx.ModelProto) -> int:
    """Drops empty names at the end of a node's inputs and outputs, and optional outputs without a reader.

    The extra outputs of LayerNormalization, MaxPool, BatchNormalization, Dropout and Attention are rejected by
    TensorRT, although few models use them. Returns how many names were removed.
    """
    read = uses(model)
    dropped = 0
    for graph in graphs_of(model):
        for node in graph.node:
            dropped += _drop_empty(node.input)
            if not node.domain:
                dropped += _blank_unread(node, read)
            dropped += _drop_empty(node.output)
    return dropped


def _blank_unread(node: onnx.NodeProto, read: dict[str, int]) -> int:
    """Blanks the names of unused optional outputs. The first output stays; positions keep their meaning."""
    blanked = 0
    if node.op_type not in _OPTIONAL_OUTPUTS.split():
        return 0
    for index in range(len(node.output) - 1, 0, -1):
        if node.output[index] and read[node.output[index]]:
            break
        blanked += bool(node.output[index])
        node.output[index] = ""
    return blanked


_OPTIONAL_OUTPUTS = (
    "Attention BatchNormalization Dropout GRU LSTM LayerNormalization MaxPool RNN SimplifiedLayerNormalization "
    "SkipLayerNormalization SoftmaxCrossEntropyLoss Unique"
)


def _drop_empty(names: list[str]) -> int:
    dropped = 0
    while len(names) > 1 and not names[-1]:
        del names[-1]
        dropped += 1
    return dropped


def remove_identities(model: onnx.ModelProto) -> int:
    """Removes Identity, and Dropout at inference, unless a visible name would be lost; how many."""
    constants = constants_of(model)
    removed = 0
    names: dict[str, str] = {}
    for graph in graphs_of(model):
        outputs = {value.name for value in graph.output}
        gone: set[str] = set()
        for node in graph.node:
            if _does_nothing(node, constants) and node.output[0] not in outputs:
                names[node.output[0]] = names.get(node.input[0], node.input[0])
                gone.add(node.output[0])
        removed += keep_nodes(graph, lambda node, gone=gone: node.output[0] not in gone)  # type: ignore[misc]
    rename_reads(model, names)
    return removed + _give_output_names(model)


def _give_output_names(model: onnx.ModelProto) -> int:
    """`x = Op(…); y = Identity(x)` with y an output becomes `y = Op(…)`, if x is not an output itself."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    makers = {name: node for node in graph.node for name in node.output if name}
    gone: set[str] = set()
    for node in graph.node:
        source = node.input[0] if node.input else ""
        maker = makers.get(source)
        if not _does_nothing(node, {}) or node.output[0] not in outputs or maker is None or source in outputs:
            continue
        maker.output[list(maker.output).index(source)] = "\0" + node.output[0]
        makers["\0" + node.output[0]] = makers.pop(source)
        rename_reads(model, {source: node.output[0]})
        gone.add(node.output[0])
    removed = keep_nodes(graph, lambda node: not node.output or node.output[0] not in gone)
    for node in graph.node:
        node.output[:] = [name.removeprefix("\0") for name in node.output]
    return removed


def _does_nothing(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    if node.domain or not node.output or not node.output[0] or not node.input or not node.input[0]:
        return False
    if node.op_type == "Identity":
        return True
    if node.op_type != "Dropout" or (len(node.output) > 1 and node.output[1]):
        return False
    training = node.input[2] if len(node.input) > 2 else ""
    if not training or _is_zero(training, constants):
        return True
    return _is_zero(node.input[1], constants)


def _is_zero(name: str, constants: dict[str, onnx.TensorProto]) -> bool:
    return name in constants and not array_of(constants[name]).any()
