"""A ResNet-50 with random weights and the samples that go with it, for benches: 25.5 M parameters, 161 activations.

Weights are He's normal ones; the last convolution of each block is scaled down, so that activations keep their size
through sixteen residual sums, as a trained network's do. No file is fetched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))


class _Net:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def conv(self, x: str, ins: int, outs: int, size: int, *, stride: int = 1, gain: float = 1.0) -> str:
        name = f"conv{len(self.nodes)}"
        std = gain * np.sqrt(2 / (ins * size * size))
        weight = (std * self.rng.standard_normal((outs, ins, size, size))).astype(np.float32)
        bias = (0.05 * self.rng.standard_normal(outs)).astype(np.float32)
        self.weights += [onnx.numpy_helper.from_array(weight, f"{name}.w")]
        self.weights += [onnx.numpy_helper.from_array(bias, f"{name}.b")]
        pads, strides = [size // 2] * 4, [stride] * 2
        inputs = [x, f"{name}.w", f"{name}.b"]
        self.nodes.append(helper.make_node("Conv", inputs, [f"{name}:0"], name, pads=pads, strides=strides))
        return f"{name}:0"

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}:0"], name, **attributes))
        return f"{name}:0"

    def block(self, x: str, ins: int, width: int, stride: int) -> str:
        inner = self.node("Relu", self.conv(x, ins, width, 1))
        inner = self.node("Relu", self.conv(inner, width, width, 3, stride=stride))
        inner = self.conv(inner, width, 4 * width, 1, gain=0.3)
        if ins != 4 * width:
            x = self.conv(x, ins, 4 * width, 1, stride=stride, gain=0.7)
        return self.node("Relu", self.node("Add", inner, x))


def write_resnet50(path: Path) -> None:
    """Writes the model: `image` float32 batch x 3 x 224 x 224 to `logits` batch x 1000."""
    net = _Net()
    x = net.node("Relu", net.conv("image", 3, 64, 7, stride=2))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    ins = 64
    for stage, (blocks, width) in enumerate(_STAGES):
        for block in range(blocks):
            x = net.block(x, ins, width, 2 if stage and not block else 1)
            ins = 4 * width
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    last = (0.02 * net.rng.standard_normal((ins, 1000))).astype(np.float32)
    net.weights += [onnx.numpy_helper.from_array(last, "fc.w")]
    net.weights += [onnx.numpy_helper.from_array(np.zeros(1000, np.float32), "fc.b")]
    net.nodes.append(helper.make_node("Gemm", [x, "fc.w", "fc.b"], ["logits"], "fc"))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000])
    graph = helper.make_graph(net.nodes, "resnet50", [image], [logits], net.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def write_samples(path: Path, count: int, seed: int = 1) -> None:
    """Writes float32 images, count x 3 x 224 x 224, as an .npy file: smooth patches with noise, mean 0, deviation 1."""
    rng = np.random.default_rng(seed)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (count, 3, 224, 224))
    for index in range(count):
        coarse = np.kron(rng.standard_normal((3, 14, 14)), np.ones((16, 16)))
        made[index] = 0.9 * coarse + 0.45 * rng.standard_normal((3, 224, 224))
    made.flush()
