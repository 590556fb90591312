"""A model described from its file, without reading weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.errors import ModelError, SpecError
from trtpipe.inspection.costs import Costs
from trtpipe.inspection.inspect_model import Asked, describe_model
from trtpipe.targets.compute_capability import ComputeCapability

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
    described = describe_model(conv_net(tmp_path / "m.onnx")).graph
    assert described.dynamic == ("x",)
    assert described.at == {"x": (1, 3, 224, 224)}
    assert described.costs == Costs(
        flops=2 * 8 * 224 * 224 * 27 + 2 * 10 * 8,
        uncounted=0,
        activation_bytes=4 * (3 + 8) * 224 * 224,
        peak_at="conv",
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
    described = describe_model(path).graph
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
    assert describe_model(path).graph.costs.flops == flops


def test_grouped_and_transposed_convolutions_count_their_own_channels(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="depthwise", group=4),
        helper.make_node("ConvTranspose", ["c", "t"], ["y"], name="up", strides=[2, 2]),
    ]
    weights = {"w": np.zeros((4, 1, 3, 3), np.float32), "t": np.zeros((4, 2, 2, 2), np.float32)}
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 4, 10, 10])}, weights)
    assert describe_model(path).graph.costs.flops == 2 * 4 * 8 * 8 * 9 + 2 * 4 * 8 * 8 * 2 * 4


def test_mixed_precision_and_quantization_show(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="d"),
        helper.make_node("Cast", ["d"], ["h"], name="to_half", to=HALF),
        helper.make_node("Relu", ["h"], ["r"], name="r"),
        helper.make_node("Cast", ["r"], ["y"], name="to_float", to=FLOAT),
    ]
    scales = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    described = describe_model(save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [4])}, scales)).graph
    assert described.float_types == (("float32", 3), ("float16", 2))
    assert described.quantized == 2


def test_shape_tensors_and_contradictions_show(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"], name="r")]
    inputs = {"x": (FLOAT, [2, 4]), "shape": (INT64, [2])}
    assert describe_model(save(tmp_path / "m.onnx", nodes, inputs, {})).graph.shape_tensors == ("shape",)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")]
    path = save(tmp_path / "n.onnx", nodes, {"x": (FLOAT, [2, 4])}, {"w": np.zeros((3, 3), np.float32)})
    assert describe_model(path).graph.problems == (
        "node 'mm' (MatMul) does not accept these shapes: incompatible dimensions for matrix multiplication",
    )


def test_a_file_of_another_kind_is_refused_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelError, match="zip archive"):
        describe_model(path)


def recurrent(op: str, gates: int, path: Path) -> Path:
    steps, batch, size, hidden = 5, 2, 3, 4
    nodes = [helper.make_node(op, ["x", "w", "r"], ["", "y"], name="rnn", hidden_size=hidden)]
    weights = {
        "w": np.zeros((1, gates * hidden, size), np.float32),
        "r": np.zeros((1, gates * hidden, hidden), np.float32),
    }
    return save(path, nodes, {"x": (FLOAT, [steps, batch, size])}, weights)


@pytest.mark.parametrize(("op", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_a_recurrent_operator_counts_its_gates_at_every_step(op: str, gates: int, tmp_path: Path) -> None:
    costs = describe_model(recurrent(op, gates, tmp_path / "m.onnx")).graph.costs
    assert costs.flops == 5 * 2 * gates * 2 * 4 * (3 + 4)


@pytest.mark.parametrize(
    ("equation", "other", "flops"),
    [("bij,jk->bik", [4, 5], 2 * 2 * 3 * 4 * 5), ("bij,bij->b", [2, 3, 4], 2 * 2 * 3 * 4)],
)
def test_an_einsum_counts_the_space_of_its_indices(
    equation: str, other: list[int], flops: int, tmp_path: Path
) -> None:
    nodes = [helper.make_node("Einsum", ["x", "z"], ["y"], name="e", equation=equation)]
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [2, 3, 4]), "z": (FLOAT, other)}, {})
    assert describe_model(path).graph.costs.flops == flops


def test_an_einsum_that_has_no_names_for_its_indices_is_not_counted(tmp_path: Path) -> None:
    nodes = [helper.make_node("Einsum", ["x", "z"], ["y"], name="e", equation="...i,...i->...")]
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [2, 3]), "z": (FLOAT, [2, 3])}, {})
    costs = describe_model(path).graph.costs
    assert (costs.flops, costs.uncounted) == (0, 1)


def test_attention_counts_both_of_its_products(tmp_path: Path) -> None:
    nodes = [helper.make_node("Attention", ["q", "k", "v"], ["y"], name="a")]
    inputs = {"q": (FLOAT, [2, 8, 5, 16]), "k": (FLOAT, [2, 8, 7, 16]), "v": (FLOAT, [2, 8, 7, 32])}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)]), tmp_path / "m.onnx")
    costs = describe_model(tmp_path / "m.onnx").graph.costs
    assert costs.flops == 2 * 2 * 8 * 5 * 7 * (16 + 32)


def test_costs_are_reckoned_at_the_shape_that_is_asked_for(tmp_path: Path) -> None:
    asked = Asked(shapes={"x": (4, 3, 10, 20)})
    graph = describe_model(conv_net(tmp_path / "m.onnx"), asked).graph
    assert graph.at == {"x": (4, 3, 10, 20)}
    assert graph.costs.flops == 4 * (2 * 8 * 10 * 20 * 27 + 2 * 10 * 8)


def test_shapes_that_do_not_fit_are_refused_all_at_once(tmp_path: Path) -> None:
    asked = Asked(shapes={"x": (4, 5, 10, 20), "z": (1,)})
    with pytest.raises(SpecError) as caught:
        describe_model(conv_net(tmp_path / "m.onnx"), asked)
    assert [problem.fact for problem in caught.value.problems] == [
        "input 'x' is ?x3x?x?, which 4x5x10x20 does not fit",
        "the model has no input 'z'",
    ]


def test_a_dynamic_size_is_traced_to_the_input_or_node_that_it_comes_from(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("NonZero", ["r"], ["nz"], name="where"),
        helper.make_node("Cast", ["nz"], ["y"], name="cast", to=FLOAT),
    ]
    graph = describe_model(save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 3])}, {})).graph
    assert [(one.places, one.origin) for one in graph.dynamic_dims] == [
        (("x[0]",), "input x[0]"),
        (("y[1]",), "the values that NonZero 'where' receives"),
    ]


def test_each_toolchain_says_what_it_refuses_for_each_gpu(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")]
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [2, 4])}, {"w": np.zeros((4, 3), np.float32)})
    asked = Asked(capabilities=(ComputeCapability(7, 5), ComputeCapability(9, 0)))
    support = describe_model(path, asked).graph.support
    assert [(one.capability, one.flavour, one.versions, bool(one.refused)) for one in support] == [
        ("sm75", "tensorrt_rtx", "1.4 to 1.6", False),
        ("sm75", "tensorrt_rtx", "1.7 or later", True),
        ("sm75", "tensorrt", "10.0 or later", False),
        ("sm90", "tensorrt_rtx", "none", True),
        ("sm90", "tensorrt", "10.0 or later", False),
    ]


def test_custom_operators_are_refused_by_the_flavour_without_plugins(tmp_path: Path) -> None:
    nodes = [helper.make_node("Odd", ["x"], ["y"], name="odd", domain="com.acme")]
    graph = describe_model(save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [2])}, {})).graph
    assert graph.custom_operators == ("Odd",)
    by_flavour = {one.flavour: (bool(one.refused), one.notes) for one in graph.support}
    assert by_flavour == {"tensorrt_rtx": (True, ()), "tensorrt": (False, ("needs a plugin for 'Odd'",))}


def test_nodes_are_listed_with_what_each_makes_and_costs(tmp_path: Path) -> None:
    asked = Asked(shapes={"x": (1, 3, 4, 4)}, nodes=True)
    nodes = describe_model(conv_net(tmp_path / "m.onnx"), asked).graph.nodes
    assert nodes is not None
    assert [(one.name, one.op, one.parameters, one.flops, one.output_bytes) for one in nodes] == [
        ("conv", "Conv", 216, 2 * 8 * 16 * 27, 4 * 8 * 16),
        ("pool", "GlobalAveragePool", 0, 0, 32),
        ("flat", "Flatten", 0, 0, 32),
        ("fc", "Gemm", 80, 160, 40),
    ]
    assert nodes[0].outputs == (("c", "float32", (1, 8, 4, 4)),)


@pytest.mark.parametrize("external", [False, True])
def test_statistics_of_weights_count_what_is_not_finite(external: bool, tmp_path: Path) -> None:
    weight = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    weight[0, 1], weight[0, 2] = np.nan, np.inf
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")]
    more = {"save_as_external_data": True, "location": "m.data", "size_threshold": 0} if external else {}
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [2, 64])}, {"w": weight}, **more)
    record = describe_model(path, Asked(weights=True)).to_json()
    (line,) = record["weights"]
    finite = weight[np.isfinite(weight)].astype(np.float64)
    assert record["nonfinite_weights"] == ["w"]
    found = line["statistics"]
    assert (found["least"], found["most"], found["zeros"], found["nonfinite"]) == (0.0, 4095.0, 1, 2)
    assert found["mean"] == pytest.approx(finite.mean(), rel=1e-12)
    assert found["deviation"] == pytest.approx(finite.std(), rel=1e-12)
