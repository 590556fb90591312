"""Deterministic ONNX models for tests: the same arguments give the same bytes. They are random, not trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RESNET50_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Channels, blocks and stride of the first block, stage by stage."""


class _Graph:
    """Nodes and weights in the order they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._numbers: Iterator[int] = count()

    def weight(self, shape: Sequence[int], scale: float) -> str:
        name = f"w{next(self._numbers)}"
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: object) -> str:
        number = next(self._numbers)
        output = output or f"t{number}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{number}", **attributes))
        return output

    def conv(self, x: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        into, out = channels
        weight = self.weight((out, into, kernel, kernel), (2.0 / (into * kernel * kernel)) ** 0.5)
        return self.node(
            "Conv",
            [x, weight, self.weight((out,), 0.01)],
            kernel_shape=[kernel] * 2,
            pads=[kernel // 2] * 4,
            strides=[stride] * 2,
        )

    def save(self, path: Path, inputs: dict[str, list[object]], outputs: dict[str, list[object]]) -> Path:
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()],
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in outputs.items()],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return path


def resnet50_like(
    path: Path, width: float = 1.0, dynamic_batch: bool = True, size: int = 224, seed: int = 0
) -> Path:
    """ResNet-50's shape with folded batch norms: `x` [N, 3, size, size] to `y` [N, 1000]."""
    graph = _Graph(seed)
    batch: object = "N" if dynamic_batch else 1
    channels = int(64 * width)
    x = graph.node("Relu", [graph.conv("x", (3, channels), 7, 2)])
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    for base, blocks, stride in RESNET50_STAGES:
        inner = int(base * width)
        for block in range(blocks):
            x = _bottleneck(graph, x, (channels, inner, inner * 4), stride if block == 0 else 1)
            channels = inner * 4
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    weight = graph.weight((channels, 1000), channels**-0.5)
    graph.node("Gemm", [x, weight, graph.weight((1000,), 0.01)], "y")
    return graph.save(path, {"x": [batch, 3, size, size]}, {"y": [batch, 1000]})


def _bottleneck(graph: _Graph, x: str, channels: tuple[int, int, int], stride: int) -> str:
    into, inner, out = channels
    y = graph.node("Relu", [graph.conv(x, (into, inner), 1)])
    y = graph.node("Relu", [graph.conv(y, (inner, inner), 3, stride)])
    y = graph.conv(y, (inner, out), 1)
    if into != out or stride != 1:
        x = graph.conv(x, (into, out), 1, stride)
    return graph.node("Relu", [graph.node("Add", [y, x])])


def small_cnn(path: Path, *, dynamic_batch: bool = False, seed: int = 0) -> Path:
    """Two convolutions and a classifier: `x` [1 or N, 3, 32, 32] to `y` [1 or N, 10]."""
    graph = _Graph(seed)
    batch: object = "N" if dynamic_batch else 1
    x = graph.node("Relu", [graph.conv("x", (3, 16), 3, 2)])
    x = graph.node("Relu", [graph.conv(x, (16, 32), 3, 2)])
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    graph.node("Gemm", [x, graph.weight((32, 10), 0.2), graph.weight((10,), 0.01)], "y")
    return graph.save(path, {"x": [batch, 3, 32, 32]}, {"y": [batch, 10]})


def mlp(path: Path, *, hidden: int = 64, seed: int = 0) -> Path:
    """Two matrix multiplications with a dynamic batch: `x` [N, 16] to `y` [N, 4]."""
    graph = _Graph(seed)
    x = graph.node("MatMul", ["x", graph.weight((16, hidden), 0.2)])
    x = graph.node("Relu", [x])
    graph.node("MatMul", [x, graph.weight((hidden, 4), 0.2)], "y")
    return graph.save(path, {"x": ["N", 16]}, {"y": ["N", 4]})
