"""bfloat16 models run on the CPU as bfloat16 hardware would: every tensor rounded, sums in float32."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner


def model_of(nodes, inputs, outputs, weights=()):
    infos = [[helper.make_tensor_value_info(n, t, s) for n, t, s in side] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *infos, list(weights))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return RunnableModel(onnx.shape_inference.infer_shapes(proto), Path(), Path("m.onnx"))


def rounded(array):
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


def weight(name, array):
    return numpy_helper.from_array(array.astype(ml_dtypes.bfloat16), name)


@pytest.mark.parametrize("at_the_border", [True, False])
def test_every_tensor_is_rounded(at_the_border):
    random = np.random.default_rng(0)
    x, w = (random.standard_normal(shape).astype(np.float32) for shape in ((4, 64), (64, 8)))
    narrow, wide = TensorProto.BFLOAT16, TensorProto.FLOAT
    if at_the_border:
        nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Mul", ["h", "h"], ["y"])]
    else:
        nodes = [
            helper.make_node("Cast", ["x"], ["a"], to=narrow),
            helper.make_node("MatMul", ["a", "w"], ["h"]),
            helper.make_node("Mul", ["h", "h"], ["b"]),
            helper.make_node("Cast", ["b"], ["y"], to=wide),
        ]
    border = narrow if at_the_border else wide
    model = model_of(nodes, [("x", border, [4, 64])], [("y", border, [4, 8])], [weight("w", w)])

    with open_runner(model) as runner:
        y = runner.infer({"x": x.astype(ml_dtypes.bfloat16) if at_the_border else x})["y"]

    h = rounded(rounded(x) @ rounded(w))
    assert y.dtype == np.float32
    np.testing.assert_allclose(
        y, rounded(h * h), rtol=2**-7
    )  # one unit of bfloat16, where a sum rounds otherwise
    assert (y == rounded(y)).all()
    assert (y == rounded(h * h)).mean() > 0.9


def test_constants_in_bfloat16_are_read():
    one = weight("c", np.array([1.5], np.float32))
    nodes = [helper.make_node("Constant", [], ["c"], value=one), helper.make_node("Add", ["x", "c"], ["y"])]
    model = model_of(nodes, [("x", TensorProto.BFLOAT16, [1])], [("y", TensorProto.BFLOAT16, [1])])

    with open_runner(model) as runner:
        assert runner.infer({"x": np.array([2.0], np.float32)})["y"] == [3.5]


def test_models_without_bfloat16_are_left_as_they_are():
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model = model_of(nodes, [("x", TensorProto.FLOAT, [1])], [("y", TensorProto.FLOAT, [1])])

    from trtpipe.runners.cpu.bfloat16 import rounding_bfloat16

    assert rounding_bfloat16(model) is model


def test_nodes_that_share_a_name_run(tmp_path):
    """ONNX allows it, ONNX Runtime does not."""
    from trtpipe.runners.cpu.graphs import runnable_model

    nodes = [
        helper.make_node("Relu", ["x"], ["h"], "same"),
        helper.make_node("Neg", ["h"], ["y"], "same"),
    ]
    model = model_of(nodes, [("x", TensorProto.FLOAT, [1])], [("y", TensorProto.FLOAT, [1])])
    onnx.save(model.proto, tmp_path / "m.onnx")

    with open_runner(runnable_model(tmp_path / "m.onnx")) as runner:
        assert runner.infer({"x": np.array([2.0], np.float32)})["y"] == [-2.0]
