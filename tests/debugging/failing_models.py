"""Projects with models that fail where they should: at TensorRT's parser, or at a threshold."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.projects import Project

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="not run: needs a tensorrt_rtx wheel"
)

SPEC = """\
schema: 1
pipeline: net
model: {source: models/net.onnx}
variants: {fp16: {precision: fp16}}
profiles:
  - x: {min: 1x3x16x16, opt: 4x3x16x16, max: 8x3x16x16}
targets: {ada: {gpu: sm89}}
"""


def dilated_pooling(blocks: int = 6) -> onnx.ModelProto:
    """A CNN with a dilated MaxPool behind its third block, which TensorRT-RTX's parser refuses."""
    rng = np.random.default_rng(0)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def weight(name: str, *shape: int) -> str:
        weights.append(numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name))
        return name

    x = "x"
    for i in range(blocks):
        inputs = [x, weight(f"w{i}", 8, 8 if i else 3, 3, 3), weight(f"b{i}", 8)]
        nodes.append(helper.make_node("Conv", inputs, [f"c{i}"], f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        x = f"r{i}"
        if i == 2:
            nodes.append(
                helper.make_node(
                    "MaxPool", [x], ["pooled"], "pool", kernel_shape=[2, 2], dilations=[2, 2], strides=[1, 1]
                )
            )
            x = "pooled"
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["averaged"], "average"))
    nodes.append(helper.make_node("Flatten", ["averaged"], ["flat"], "flatten"))
    nodes.append(helper.make_node("Gemm", ["flat", weight("wg", 8, 10), weight("bg", 10)], ["y"], "classify"))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(nodes, "net", [image], [scores], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def make_project(root: Path, model: onnx.ModelProto, spec: str = SPEC) -> Path:
    """A project of one pipeline, `net`."""
    return Project(root).model(model).spec(spec).root


def crashing_mxfp8() -> onnx.ModelProto:
    """Products of mxfp8 tensors, one of which is dequantized to float32 and cast: TensorRT-RTX 1.7 dies of it."""
    half, rng = TensorProto.FLOAT16, np.random.default_rng(0)
    weights, nodes, infos, x = [], [], [], "x"
    for i, wide in enumerate((False, True)):
        weights.append(numpy_helper.from_array(rng.normal(0, 0.1, (64, 64)).astype(np.float16), f"w{i}"))
        blocks = {"domain": "trt", "axis": -1, "block_size": 32}
        made = f"d{i}_wide" if wide else f"d{i}"
        to = TensorProto.FLOAT if wide else half
        nodes += [
            helper.make_node("TRT_MXFP8DynamicQuantize", [x], [f"q{i}", f"s{i}"], f"quantize{i}",
                             output_dtype=TensorProto.FLOAT8E4M3FN, **blocks),
            helper.make_node("TRT_MXFP8DequantizeLinear", [f"q{i}", f"s{i}"], [made], f"dequantize{i}",
                             output_dtype=to, **blocks),
        ]  # fmt: skip
        infos += [
            helper.make_tensor_value_info(f"q{i}", TensorProto.FLOAT8E4M3FN, ["n", 64]),
            helper.make_tensor_value_info(f"s{i}", TensorProto.UINT8, ["n", 2]),
            helper.make_tensor_value_info(made, to, ["n", 64]),
        ]
        if wide:
            nodes.append(helper.make_node("Cast", [made], [f"d{i}"], "narrow", to=half))
        nodes += [
            helper.make_node("MatMul", [f"d{i}", f"w{i}"], [f"m{i}"], f"product{i}"),
            helper.make_node("Relu", [f"m{i}"], [f"r{i}"], f"relu{i}"),
        ]
        x = f"r{i}"
    ends = [helper.make_tensor_value_info(name, half, ["n", 64]) for name in ("x", x)]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights, value_info=infos)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("trt", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


MXFP8_SPEC = (
    SPEC.replace("1x3x16x16", "1x64")
    .replace("4x3x16x16", "32x64")
    .replace("8x3x16x16", "64x64")
    .replace("sm89", "sm120")
)
