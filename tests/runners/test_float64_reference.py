"""The reference in float64: nearer to the truth than float32, and plain about where it is float32 all the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.runners.test_validation import COSINE, npz_data, places, saved, validated
from trtpipe.metrics.verdicts import judge_report
from trtpipe.problem_codes import Code
from trtpipe.runners.cpu.float64 import lift, open_lifted
from trtpipe.runners.cpu.graphs import runnable_model

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 64)).astype(np.float32)
W = RNG.standard_normal((64, 64)).astype(np.float32)
CHAIN = "g (float[N,64] x) => (float[N,64] y) { a = MatMul(x, w)  b = Tanh(a)  y = MatMul(b, w) }"
CASTS = """g (float[N,64] x) => (float[N,64] y, int64[K] k) {
    s = Shape(x)  h = Cast<to = 10>(x)  f = Cast<to = 1>(h)  g = Add(f, w0)  k = ArgMax<axis = 0, keepdims = 0>(g)
    i = Identity(k)  y = Reshape(g, s) }"""
BODY = """g (float[N,64] x, bool c) => (float[N,64] y) {
    a = MatMul(x, w)
    b = If(c) <
        then_branch = t () => (float[N,64] p) { p = Neg(a) },
        else_branch = e () => (float[N,64] q) { q = Abs(a) }
    >
    y = MatMul(b, w) }"""


def given(path, outputs, **inputs):
    with open_lifted(runnable_model(path), outputs, threads=1) as (runner, lifted):
        found = runner.infer(inputs)
        return [found[lifted.names.get(name, name)] for name in outputs], lifted


def test_what_is_computed_is_computed_in_float64(tmp_path):
    path = saved(tmp_path / "m.onnx", CHAIN, w=W)

    (y, b), lifted = given(path, ["y", "b"], x=X)

    wide = np.tanh(X.astype(np.float64) @ W) @ W
    assert (y.dtype, b.dtype, lifted.narrow) == (np.float64, np.float64, ())
    assert np.abs(y - wide).max() < 1e-12
    assert np.abs(np.tanh(X @ W) @ W - wide).max() > 1e-7


def test_weights_stay_as_they_are(tmp_path):
    path = saved(tmp_path / "m.onnx", CHAIN, w=W)

    lifted = lift(runnable_model(path)).model.proto

    assert [tensor.data_type for tensor in lifted.graph.initializer] == [onnx.TensorProto.FLOAT]
    assert lifted == lift(runnable_model(path)).model.proto


def test_casts_halves_and_integers_keep_their_meaning(tmp_path):
    path = saved(tmp_path / "m.onnx", CASTS, w0=W[0])

    (y, k), _ = given(path, ["y", "k"], x=X)

    assert np.array_equal(y, X.astype(np.float16).astype(np.float64) + W[0])
    assert k.dtype == np.int64


@pytest.mark.parametrize("which", [True, False])
def test_a_node_with_bodies_stays_narrow_and_its_captures_are_there(tmp_path, which):
    path = saved(tmp_path / "m.onnx", BODY, w=W)

    (y,), lifted = given(path, ["y"], x=X, c=np.array(which))

    a = (X.astype(np.float64) @ W).astype(np.float32)
    b = (-a if which else np.abs(a)).astype(np.float64)
    assert np.abs(y - b @ W).max() < 1e-12
    assert lifted.narrow == ()


def test_an_operator_without_a_kernel_is_named(tmp_path):
    text = "g (float[N,1,8,8] x) => (float[N,1,8,8] y) { a = Conv<pads = [1, 1, 1, 1]>(x, w)  y = Tanh(a) }"
    source = saved(tmp_path / "s.onnx", text, w=RNG.standard_normal((1, 1, 3, 3)).astype(np.float32))
    data = npz_data(tmp_path, x=RNG.standard_normal((4, 1, 8, 8)).astype(np.float32))

    report = validated(tmp_path, source, source, data=data, reference="float64")

    assert report["reference"] == "float64"
    assert report["not_run"] == [
        {
            "name": "float64 in Conv of the reference",
            "why": "ONNX Runtime's CPU has no such kernels, and float32 was used there",
        }
    ]
    assert judge_report(report, [COSINE]).outcome == "passed"


def test_a_validation_against_float64_sees_the_error_of_float32(tmp_path):
    source = saved(tmp_path / "s.onnx", CHAIN, w=W)
    data = npz_data(tmp_path, x=X)
    profile = {"x": {"min": [1, 64], "opt": [3, 64], "max": [5, 64]}}

    narrow = validated(tmp_path, source, source, data=data, profiles=[profile])
    wide = validated(tmp_path, source, source, data=data, profiles=[profile], reference="float64")

    assert places(wide) == places(narrow) and wide["not_run"] == []
    assert narrow["places"][0]["outputs"]["y"]["metrics"]["max_abs"] == 0
    assert 1e-7 < wide["places"][0]["outputs"]["y"]["metrics"]["max_abs"] < 1e-4


def test_a_source_that_cannot_be_lifted_is_run_as_it_is_and_said_so(tmp_path, monkeypatch):
    from trtpipe.errors import ModelError
    from trtpipe.runners.validation import references

    def refuse(*arguments, **options):
        raise ModelError(Code.MODEL_RUN_FAILED, "no kernels at all")

    monkeypatch.setattr(references, "open_lifted", refuse)
    source = saved(tmp_path / "s.onnx", CHAIN, w=W)

    report = validated(tmp_path, source, source, data=npz_data(tmp_path, x=X), reference="float64")

    assert report["not_run"] == [
        {"name": "the reference in float64", "why": "no kernels at all; float32 was used"}
    ]
    assert report["places"][0]["outputs"]["y"]["differing"] == 0


def test_outputs_that_are_inputs_or_weights_are_given(tmp_path):
    text = "g (float[N,64] x) => (float[N,64] y, float[64,64] v) { y = Neg(x)  v = Identity(w) }"
    path = saved(tmp_path / "m.onnx", text, w=W)

    (y, v), _ = given(path, ["y", "v"], x=X)

    assert np.array_equal(y, -X.astype(np.float64)) and np.array_equal(v, W)
    assert numpy_helper.to_array(onnx.load(path).graph.initializer[0]).dtype == np.float32
