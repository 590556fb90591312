"""ONNX Runtime computes what a model says also where its own kernels, as they are, would not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from trtpipe.runners.cpu.exact_products import with_unsigned_weights
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner

WEIGHTS = np.random.default_rng(0).integers(-128, 128, (64, 8)).astype(np.int8)
CODES = np.random.default_rng(1).integers(0, 256, (4, 64)).astype(np.uint8)


def runnable(text: str, **constants: np.ndarray) -> RunnableModel:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    proto.graph.initializer.extend(numpy_helper.from_array(held, name) for name, held in constants.items())
    return RunnableModel(proto, Path(), Path("model.onnx"))


@pytest.mark.parametrize("zero", [None, np.int8(0), np.int8(-7)])
def test_products_of_uint8_and_int8_are_not_cut_off(zero):
    """Without VNNI the plain kernel is off by tens of thousands here."""
    given = {"w": WEIGHTS, **({} if zero is None else {"z": np.asarray(zero)})}
    model = runnable("g (uint8[4,64] x) => (int32[4,8] y) { y = MatMulInteger (x, w) }", **given)
    if zero is not None:
        model.proto.graph.node[0].input.extend(["", "z"])

    with open_runner(model, threads=1) as runner:
        made = runner.infer({"x": CODES})["y"]

    wanted = CODES.astype(np.int64) @ (WEIGHTS.astype(np.int64) - (0 if zero is None else int(zero)))
    np.testing.assert_array_equal(made, wanted)


def test_a_model_without_such_products_is_the_same():
    floats = runnable(
        "g (float[4,64] x) => (float[4,8] y) { y = MatMul (x, w) }", w=WEIGHTS.astype(np.float32)
    )
    signed = runnable("g (int8[4,64] x) => (int32[4,8] y) { y = MatMulInteger (x, w) }", w=WEIGHTS)
    assert with_unsigned_weights(floats) is floats
    assert with_unsigned_weights(signed) is signed  # int8 with uint8 has no kernel


@pytest.mark.parametrize("opset", [9, 13, 18])
@pytest.mark.parametrize("axes", [[0], [1, 2], [0, 2, 3], [-1]])
def test_mean_variance_normalization_has_its_epsilon(opset, axes):
    text = (
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[n,3,4,5] x) => (float[n,3,4,5] y) '
        f"{{ y = MeanVarianceNormalization <axes = {axes}> (x) }}"
    )
    model = RunnableModel(onnx.parser.parse_model(text), Path(), Path("model.onnx"))
    x = np.random.default_rng(0).normal(2, 3, (2, 3, 4, 5)).astype(np.float32)
    x[1] = x[0] if axes == [0] else x[1]  # nothing varies along the batch then

    with open_runner(model, threads=1) as runner:
        made = runner.infer({"x": x})["y"]

    mean = x.mean(tuple(axes), keepdims=True)
    deviation = np.sqrt(((x - mean) ** 2).mean(tuple(axes), keepdims=True)) + 1e-9
    np.testing.assert_allclose(made, (x - mean) / deviation, atol=1e-5)
