"""Runs in the child process: converts a graph or SavedModel to ONNX with tf2onnx. Imports nothing of trtpipe.

The model goes to `model.onnx` in the working directory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx
    import tensorflow
    from tf2onnx.tf_utils import ExternalTensorStorage

MODEL = Path("model.onnx")


class Request(TypedDict, total=False):
    """The model to convert, and how."""

    source: str
    """A file, with `inputs` and `outputs`, or a directory, with `signature` and `tags`."""
    inputs: list[str]
    outputs: list[str]
    signature: str
    tags: list[str]
    shapes: dict[str, list[int]]
    """Input → sizes, -1 for dynamic ones."""
    opset: int
    large: bool
    """Whether the model may exceed what one protobuf holds."""


def convert(request: Request) -> dict[str, str]:
    """Writes the model as ONNX; the versions of TensorFlow and tf2onnx that did."""
    import numpy as np
    import tensorflow as tf
    import tf2onnx
    from tf2onnx import optimizer
    from tf2onnx.convert import _convert_common

    if not hasattr(np, "product"):
        np.product = np.prod  # type: ignore[attr-defined]  # removed in NumPy 2; tf2onnx 1.17 needs it
    graph, inputs, outputs, names, tables = _load(request)
    # Which of two equal nodes it would keep depends on addresses in memory; equal nodes are merged later, in order.
    passes = {name: one for name, one in optimizer._get_optimizers().items() if name != "merge_duplication"}
    model, weights = _convert_common(
        graph,
        name="graph",
        opset=request["opset"],
        input_names=inputs,
        output_names=outputs,
        shape_override=_shapes(request["shapes"], names) or None,
        tensors_to_rename=names,
        initialized_tables=tables,
        large_model=request["large"],
        optimizers=passes,
        continue_on_error=False,
    )
    _write(model, weights)
    return {"tensorflow": tf.__version__, "tf2onnx": tf2onnx.__version__}


def _load(
    request: Request,
) -> tuple[tensorflow.Graph, list[str], list[str], dict[str, str], Mapping[str, object] | None]:
    """The frozen graph, its inputs and outputs with their names, and the contents of its tables."""
    import tensorflow as tf
    from tf2onnx import tf_loader

    if "signature" not in request:
        source = _with_defaults(request["source"], request["inputs"])
        graph, inputs, outputs = tf_loader.from_graphdef(source, request["inputs"], request["outputs"])
        return graph, inputs, outputs, {}, None
    with tf.device("/cpu:0"):
        graph, inputs, outputs, tables, names = tf_loader.from_saved_model(
            request["source"],
            None,
            None,
            tag=request["tags"],
            signatures=[request["signature"]],
            large_model=request["large"],
            return_initialized_tables=True,
            return_tensors_to_rename=True,
        )
    return graph, inputs, outputs, names, tables


def _with_defaults(source: str, inputs: list[str]) -> str:
    """Writes the graph with unfed placeholders replaced by their defaults, because tf2onnx would require them."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(Path(source).read_bytes())
    fed = {name.split(":")[0] for name in inputs}
    unfed = [one for one in graph.node if one.op == "PlaceholderWithDefault" and one.name not in fed]
    if not unfed:
        return source
    for node in unfed:
        node.op = "Identity"
        node.attr["T"].CopyFrom(node.attr["dtype"])
        for name in ("dtype", "shape"):
            del node.attr[name]
    changed = Path("graph.pb")
    changed.write_bytes(graph.SerializeToString(deterministic=True))
    return str(changed)


def _shapes(asked: dict[str, list[int]], names: dict[str, str]) -> dict[str, list[int]]:
    tensors = {name: tensor for tensor, name in names.items()}
    return {tensors.get(name, name): sizes for name, sizes in asked.items()}


def _write(model: onnx.ModelProto, weights: ExternalTensorStorage | None) -> None:
    """Writes the model; the weights of a large one go to separate files with generated names, never the model's."""
    if weights is not None:
        _write_weights(model, weights)
    MODEL.write_bytes(model.SerializeToString(deterministic=True))


def _write_weights(model: onnx.ModelProto, weights: ExternalTensorStorage) -> None:
    files: dict[str, str] = {}
    for tensor in _external(model):
        (location,) = (entry for entry in tensor.external_data if entry.key == "location")
        if location.value not in files:
            files[location.value] = f"weight_{len(files)}.bin"
            data = weights.name_to_tensor_data.pop(location.value)
            Path(files[location.value]).write_bytes(data)
        location.value = files[location.value]


def _external(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield from (tensor for tensor in graph.initializer if tensor.external_data)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t") and attribute.t.external_data:
                    yield attribute.t
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
