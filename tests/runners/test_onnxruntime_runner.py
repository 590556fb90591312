"""The runner: the model as written, halves rounded as halves, weights left in their files, errors by node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.errors import ModelError, StepFailed
from trtpipe.runners.cpu.graphs import rounding_halves, runnable_model
from trtpipe.runners.cpu.onnxruntime import half_is_rounded, open_runner


def saved(path, text, opset=17, **weights):
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items())
    path.write_bytes(proto.SerializeToString())
    return path


def test_outputs_come_by_name(tmp_path):
    path = saved(tmp_path / "m.onnx", "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x)  z = Abs(x) }")

    with open_runner(path) as runner:
        got = runner.infer({"x": np.array([1, -2], np.float32)})

    assert {name: array.tolist() for name, array in got.items()} == {"y": [-1, 2], "z": [1, 2]}


def test_an_overflow_between_two_half_nodes_is_not_optimized_away():
    assert half_is_rounded()


def test_a_chain_of_halves_equals_numpys_halves(tmp_path):
    text = """g (float[64] x) => (float[64] y) {
        h = Cast<to=10>(x)  a = Mul(h, w)  b = Add(a, w)  c = Div(b, h)  y = Cast<to=1>(c) }"""
    path = saved(tmp_path / "m.onnx", text, w=np.float16(0.3))
    x = np.linspace(0.1, 9, 64, dtype=np.float32)
    h, w = x.astype(np.float16), np.float16(0.3)

    with open_runner(path) as runner:
        got = runner.infer({"x": x})["y"]

    assert np.array_equal(got, ((h * w + w) / h).astype(np.float32))


def test_a_model_without_halves_is_not_copied(tmp_path):
    model = runnable_model(saved(tmp_path / "m.onnx", "g (float[2] x) => (float[2] y) { y = Neg(x) }"))

    assert rounding_halves(model) is model


@pytest.mark.parametrize("external", [False, True], ids=["embedded", "external"])
def test_weights_are_read_where_they_lie(tmp_path, external):
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    path = saved(tmp_path / "m.onnx", "g (float[1,64] x) => (float[1,64] y) { y = MatMul(x, w) }", w=weight)
    if external:
        (tmp_path / "sub").mkdir()
        proto = onnx.load(path)
        path = tmp_path / "sub/n.onnx"
        onnx.save(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    x = np.ones((1, 64), np.float32)

    assert len(runnable_model(path).proto.SerializeToString()) < 2000
    with open_runner(path) as runner:
        assert np.allclose(runner.infer({"x": x})["y"], x @ weight, rtol=1e-4, atol=1e-4)


def test_intermediate_tensors_can_be_exposed(tmp_path):
    path = saved(tmp_path / "m.onnx", "g (float[2] x) => (float[2] y) { a = Exp(x)  y = Neg(a) }")

    with open_runner(runnable_model(path).upto(["a", "y"])) as runner:
        assert runner.outputs == ("a", "y")


def test_a_node_that_fails_is_named(tmp_path):
    path = saved(
        tmp_path / "m.onnx", "g (float[N] x) => (float[2,2] y) { y = Reshape(x, s) }", s=np.array([2, 2])
    )

    with (
        open_runner(path) as runner,
        pytest.raises(StepFailed, match=r"cannot run node '.*' \(Reshape\) of 'm.onnx', which makes 'y'"),
    ):
        runner.infer({"x": np.zeros(3, np.float32)})


def test_a_missing_input_is_an_error_of_the_step(tmp_path):
    path = saved(tmp_path / "m.onnx", "g (float[2] x) => (float[2] y) { y = Neg(x) }")

    with open_runner(path) as runner, pytest.raises(StepFailed, match=r"cannot run 'm\.onnx'"):
        runner.infer({})


def test_an_unknown_operator_is_an_error_of_the_model(tmp_path):
    node = helper.make_node("Magic", ["x"], ["y"], domain="acme", name="wand")
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])] for name in "xy"]
    graph = helper.make_graph([node], "g", *ends)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)], ir_version=9
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match="Magic"), open_runner(tmp_path / "m.onnx"):
        pass
