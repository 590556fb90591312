"""Makes pipelines/models/digits.caffemodel of the weights in digits_cnn.onnx, when it is run."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import numpy_helper

from tests.frontends.caffe_files import caffemodel

MODELS = Path(__file__).resolve().parents[2] / "pipelines" / "models"


def digits_caffemodel() -> bytes:
    """The caffemodel: convolutions and the inner product in the order of the net."""
    graph = onnx.load(MODELS / "digits_cnn.onnx").graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    learned = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    names = ("conv1", "conv2", "conv3", "logits")
    return caffemodel(
        {name: [held[one] for one in node.input[1:]] for name, node in zip(names, learned, strict=True)}
    )


if __name__ == "__main__":
    (MODELS / "digits.caffemodel").write_bytes(digits_caffemodel())
