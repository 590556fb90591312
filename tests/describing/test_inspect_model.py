"""A model described from its file, without reading weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.describing.costs import Costs
from trtpipe.describing.inspect_model import describe_model
from trtpipe.errors import ModelError

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def save(path: Path, nodes: list[Any], inputs: dict[str, Any], inits: dict[str, Any], **more: Any) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in inits.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="exporter", producer_version="2")
    onnx.save(model, path, **more)
    return path


def conv_net(path: Path, **more: Any) -> Path:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "fc"], ["y"], name="fc"),
    ]
    weights = {"w": np.zeros((8, 3, 3, 3), np.float32), "fc": np.zeros((8, 10), np.float32)}
    return save(path, nodes, {"x": (FLOAT, ["n", 3, "h", "w_"])}, weights, **more)


def test_a_dynamic_model_is_described_at_likely_shapes(tmp_path: Path) -> None:
    described = describe_model(conv_net(tmp_path / "m.onnx"))
    assert described.dynamic == ("x",)
    assert described.at == {"x": (1, 3, 224, 224)}
    assert described.costs == Costs(
        flops=2 * 8 * 224 * 224 * 27 + 2 * 10 * 8,
        uncounted=0,
        activation_bytes=4 * (3 + 8) * 224 * 224,
    )
    assert described.float_types == (("float32", 5),)
    assert (described.summary.parameters, described.summary.weight_bytes) == (8 * 27 + 80, 4 * (8 * 27 + 80))
    assert described.summary.producer == "exporter 2"
    assert described.problems == ()


def test_the_description_is_plain_json(tmp_path: Path) -> None:
    record = describe_model(conv_net(tmp_path / "m.onnx")).to_json()
    assert json.loads(json.dumps(record)) == json.loads(json.dumps(record, default=str))
    assert record["format"] == "onnx"
    assert record["at"] == {"x": [1, 3, 224, 224]}


def test_external_data_are_measured_and_not_read(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (external,) = describe_model(path).external
    assert (external.name, external.nbytes) == ("m.data", (tmp_path / "m.data").stat().st_size)


def test_costs_do_not_count_what_is_not_known(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Odd", ["x"], ["o"], name="odd", domain="com.acme"),
        helper.make_node("MatMul", ["o", "w"], ["y"], name="mm"),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [2, 4])}, {"w": np.zeros((4, 3), np.float32)})
    described = describe_model(path)
    assert described.costs == Costs(flops=0, uncounted=1, activation_bytes=None)
    assert described.summary.custom_domains == ("com.acme",)


@pytest.mark.parametrize(
    ("op", "weight", "attributes", "flops"),
    [
        ("MatMul", (4, 5), {}, 2 * 2 * 5 * 4),
        ("Gemm", (5, 4), {"transB": 1}, 2 * 2 * 5 * 4),
        ("Gemm", (2, 3), {"transA": 1}, 2 * 4 * 3 * 2),
    ],
)
def test_products_count_two_operations_a_multiplication(
    op: str, weight: Any, attributes: Any, flops: int, tmp_path: Path
) -> None:
    nodes = [helper.make_node(op, ["x", "w"], ["y"], name="n", **attributes)]
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [2, 4])}, {"w": np.zeros(weight, np.float32)})
    assert describe_model(path).costs.flops == flops


def test_grouped_and_transposed_convolutions_count_their_own_channels(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="depthwise", group=4),
        helper.make_node("ConvTranspose", ["c", "t"], ["y"], name="up", strides=[2, 2]),
    ]
    weights = {"w": np.zeros((4, 1, 3, 3), np.float32), "t": np.zeros((4, 2, 2, 2), np.float32)}
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 4, 10, 10])}, weights)
    assert describe_model(path).costs.flops == 2 * 4 * 8 * 8 * 9 + 2 * 4 * 8 * 8 * 2 * 4


def test_mixed_precision_and_quantization_show(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="d"),
        helper.make_node("Cast", ["d"], ["h"], name="to_half", to=HALF),
        helper.make_node("Relu", ["h"], ["r"], name="r"),
        helper.make_node("Cast", ["r"], ["y"], name="to_float", to=FLOAT),
    ]
    scales = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    described = describe_model(save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [4])}, scales))
    assert described.float_types == (("float32", 3), ("float16", 2))
    assert described.quantized == 2


def test_shape_tensors_and_contradictions_show(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"], name="r")]
    inputs = {"x": (FLOAT, [2, 4]), "shape": (INT64, [2])}
    assert describe_model(save(tmp_path / "m.onnx", nodes, inputs, {})).shape_tensors == ("shape",)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")]
    path = save(tmp_path / "n.onnx", nodes, {"x": (FLOAT, [2, 4])}, {"w": np.zeros((3, 3), np.float32)})
    assert describe_model(path).problems == (
        "node 'mm' (MatMul) does not take these shapes: incompatible dimensions for matrix multiplication",
    )


def test_a_file_of_another_kind_is_refused_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelError, match="zip archive"):
        describe_model(path)
