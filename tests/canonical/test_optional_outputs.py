"""Optional outputs that TensorRT's parser does not make are computed beside their node, as ONNX Runtime makes them."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.canonical.onnx_text import canonical
from trtpipe.canonical.evaluation import Evaluator

SHAPE = (2, 3, 4)
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    with Evaluator(tmp_path_factory.mktemp("evaluator")) as made:
        yield made


def ran(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def normalization(axis=-1, epsilon=1e-5, dtype="float32", opset=17, outputs=("y", "mean", "inverse"), **more):
    first = axis % 3
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal(SHAPE[first:]).astype(dtype), name) for name in "sb"
    ]
    node = helper.make_node(
        "LayerNormalization", ["x", "s", "b"], outputs, "norm", axis=axis, epsilon=epsilon, **more
    )
    shown = [
        helper.make_tensor_value_info(name, TYPES[dtype] if name == "y" else TensorProto.FLOAT, None)
        for name in outputs
        if name
    ]
    x = helper.make_tensor_value_info("x", TYPES[dtype], ["n", *SHAPE[1:]])
    graph = helper.make_graph([node], "net", [x], shown, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def fed(dtype="float32", mean=1.0):
    x = np.random.default_rng(1).standard_normal(SHAPE) + mean
    return x.astype(dtype)


@pytest.mark.parametrize(
    ("axis", "epsilon", "dtype", "opset"),
    [*product((-1, 1, 0, -2), (1e-5, 0.1), ("float32", "float16"), (17,)), (-1, 1e-3, "float32", 21)],
)
def test_mean_and_deviation_are_what_onnx_runtime_makes(evaluator, axis, epsilon, dtype, opset):
    model = normalization(axis, epsilon, dtype, opset)
    made, changes = canonical(model, evaluator)

    for ours, theirs in zip(ran(made, fed(dtype)), ran(model, fed(dtype)), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    kept = made.graph.node[0]
    assert (kept.name, kept.op_type, list(kept.output)) == ("norm", "LayerNormalization", ["y"])
    assert changes.counts["other outputs of LayerNormalization computed beside it"] == 1


def test_a_stash_type_that_is_said_is_the_default_one(evaluator):
    said, _ = canonical(normalization(stash_type=1), evaluator)
    silent, _ = canonical(normalization(), evaluator)

    assert [node.op_type for node in said.graph.node] == [node.op_type for node in silent.graph.node]


def test_a_large_mean_does_not_cancel_the_deviation(evaluator):
    made, _ = canonical(normalization(outputs=("y", "", "inverse")), evaluator)
    x = fed(mean=30000.0)

    y, inverse = ran(made, x)

    exact = 1 / np.sqrt(x.astype(np.float64).var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(inverse, exact, rtol=1e-3)
    assert np.isfinite(y).all()


def test_what_is_not_read_is_not_computed(evaluator):
    made, _ = canonical(normalization(outputs=("y", "mean")), evaluator)
    alone, changes = canonical(normalization(outputs=("y",)), evaluator)

    assert [node.op_type for node in made.graph.node] == ["LayerNormalization", "ReduceMean"]
    assert [node.op_type for node in alone.graph.node] == ["LayerNormalization"]
    assert "other outputs of LayerNormalization computed beside it" not in changes.counts


def dropout(opset: int, training: bool | None = None) -> onnx.ModelProto:
    given = [numpy_helper.from_array(np.float32(0.5), "ratio")]
    inputs = ["x", "ratio"]
    if training is not None:
        given.append(numpy_helper.from_array(np.asarray(training), "training"))
        inputs.append("training")
    nodes = [
        helper.make_node("Dropout", inputs, ["y", "mask"], "drop"),
        helper.make_node("Relu", ["y"], ["z"], "relu"),
    ]
    shown = [
        helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, ["n", 3]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "net", [x], shown, given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.mark.parametrize("opset", [12, 13, 17])
@pytest.mark.parametrize("training", [None, False])
def test_the_mask_of_a_dropout_at_inference_is_true(evaluator, opset, training):
    model = dropout(opset, training)
    made, _ = canonical(model, evaluator)
    x = np.array([[1, np.nan, -3], [0, 2, np.inf]], np.float32)

    for ours, theirs in zip(ran(made, x), ran(model, x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "Dropout" not in {node.op_type for node in made.graph.node}


def test_a_dropout_in_training_keeps_its_mask_for_check_to_refuse(evaluator):
    made, _ = canonical(dropout(17, training=True), evaluator)

    assert list(made.graph.node[0].output) == ["y", "mask"]
