"""Makes pipelines/models/digits.uff of the weights in digits_cnn.onnx: python -m tests.frontends.digits_uff.

Channels last inside, as TensorFlow's converter wrote nets: kernels are HWIO, and the classifier reads the flattened
tensor row by row and channel by channel. A transpose in front takes images with their channel first.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import numpy_helper

from tests.uff_writer import Node, const, mark, node, placeholder, uff

MODELS = Path(__file__).resolve().parents[2] / "pipelines" / "models"


def digits_uff() -> bytes:
    """The file: three convolutions, two of them pooled, and the classifier."""
    graph = onnx.load(MODELS / "digits_cnn.onnx").graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    learned = [
        [held[name] for name in one.input[1:]] for one in graph.node if one.op_type in ("Conv", "Gemm")
    ]
    nodes = [
        placeholder("image", [-1, 1, 8, 8]),
        node("Transpose", "last", "image", permutation=[0, 2, 3, 1]),
    ]
    for number, (kernel, bias) in enumerate(learned[:3], start=1):
        nodes += _convolution(f"c{number}", nodes[-1].id, kernel, bias, pooled=number > 1)
    weights, bias = learned[3]
    rows = weights.reshape(10, 32, 2, 2).transpose(2, 3, 1, 0).reshape(128, 10)  # from CHW to HWC
    nodes += [
        node("Flatten", "flat", nodes[-1].id),
        const("f/kernel", rows),
        const("f/bias", bias),
        node("FullyConnected", "f/MatMul", "flat", "f/kernel", orders=["NC", "CK"]),
        node("Binary", "logits", "f/MatMul", "f/bias", func="add"),
        *mark("logits"),
    ]
    return uff(reversed(nodes))


def _convolution(name: str, x: str, kernel: object, bias: object, *, pooled: bool) -> list[Node]:
    fields = {"strides": [1, 1], "dilation": [1, 1], "implicit_padding": "same"}
    nodes = [
        const(f"{name}/kernel", kernel.transpose(2, 3, 1, 0)),
        const(f"{name}/bias", bias),
        node("Conv", f"{name}/Conv2D", x, f"{name}/kernel", orders=["N+C", "+CK"], **fields),
        node("Binary", f"{name}/BiasAdd", f"{name}/Conv2D", f"{name}/bias", func="add"),
        node("Activation", f"{name}/Relu", f"{name}/BiasAdd", func="relu"),
    ]
    if pooled:
        pool = {"func": "max", "kernel": [2, 2], "strides": [2, 2]}
        nodes.append(node("Pool", f"{name}/MaxPool", f"{name}/Relu", orders=["N+C"], **pool))
    return nodes


if __name__ == "__main__":
    (MODELS / "digits.uff").write_bytes(digits_uff())
