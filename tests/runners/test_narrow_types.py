"""Models of types that the CPU lacks: their twins compute what numpy computes of the same narrow numbers."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from trtpipe.precisions import Choices, find_precision
from trtpipe.runners.cpu.dynamic_blocks import dynamic_types
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner

TEXT = "<ir_version: 9, opset_import: ['' : 17]> g (float[3,N,64] x) => (float[3,N,8] y) { y = MatMul(x, w) }"
WEIGHT = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)


def typed(precision, base="fp32", amax=4.0):
    proto = onnx.parser.parse_model(TEXT.replace("'", '"'))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHT, "w"))
    proto.graph.node[0].name = "product"
    found = find_precision(precision)
    found.prepare(proto, base)
    model = ir.from_proto(proto)
    plan = found.plan_types(
        model, choices=Choices(base=base, amax={"x": amax} if found.needs_calibration else None)
    )
    assert plan.quantized == ("product",)
    found.rewrite(model, plan)
    return RunnableModel(ir.to_proto(model), Path(), Path("typed.onnx"))


def run(model, x):
    with open_runner(model, threads=1) as runner:
        return runner.infer({"x": x})["y"]


def as_nvfp4(values, whole, axis=-1):
    moved = np.moveaxis(values, axis, -1)
    blocks = moved.reshape(-1, 16).astype(np.float32)
    scale = np.abs(blocks).max(1, keepdims=True) / np.float32(6) / whole
    scale = np.minimum(scale, 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * whole
    elements = np.clip(blocks / np.where(scale == 0, 1, scale), -6, 6).astype(ml_dtypes.float4_e2m1fn)
    return np.moveaxis((elements.astype(np.float32) * scale).reshape(moved.shape), -1, axis)


def as_mxfp8(values, axis=-1):
    moved = np.moveaxis(values, axis, -1)
    blocks = moved.reshape(-1, 32).astype(np.float32)
    amax = np.maximum(np.abs(blocks).max(1, keepdims=True) / np.float32(448), np.float32(2.0**-126))
    fraction, exponent = np.frexp(amax)
    scale = np.ldexp(np.float32(1), np.where(fraction == 0.5, exponent - 1, exponent))
    elements = np.clip(blocks / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    return np.moveaxis((elements.astype(np.float32) * scale).reshape(moved.shape), -1, axis)


def activations():
    """Magnitudes of many sizes, zeros, powers of two, and ties between two e2m1 numbers."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 6, 64)).astype(np.float32) * np.float32(2.0) ** rng.integers(
        -12, 3, (3, 6, 1)
    )
    x[0, 0] = 0
    x[0, 1, :32] = 0
    x[0, 2, :16] = [6, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -0.25, -0.75, -1.25, -1.75, -2.5, -3.5, -5, -6]
    x[0, 3] = 448 / 32
    return x.astype(np.float32)


def test_nvfp4_rounds_both_operands_as_tensorrt_does():
    x, model = activations(), typed("nvfp4", amax=28.0)
    top = np.float32(448 * 6)

    found = run(model, x)

    expected = as_nvfp4(x, np.float32(28) / top).astype(np.float64) @ as_nvfp4(
        WEIGHT, np.abs(WEIGHT).max() / top, axis=0
    ).astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert dynamic_types(model) == ("nvfp4",)


def test_what_lies_beyond_the_calibrated_range_is_clipped():
    x = np.full((3, 1, 64), 8, np.float32)

    found = run(typed("nvfp4", amax=4.0), x)

    np.testing.assert_allclose(found, run(typed("nvfp4", amax=4.0), x / 2), rtol=1e-6)


def test_mxfp8_rounds_both_operands_as_tensorrt_does():
    x, model = activations(), typed("mxfp8")

    found = run(model, x)

    expected = as_mxfp8(x).astype(np.float64) @ as_mxfp8(WEIGHT, axis=0).astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert dynamic_types(model) == ("mxfp8",)


@pytest.mark.parametrize("base", ["fp16", "bf16"])
@pytest.mark.parametrize("precision", ["nvfp4", "mxfp8", "fp4", "int4", "fp8", "int8"])
def test_every_quantized_type_runs_on_the_cpu_with_every_base(precision, base):
    x = activations()

    narrow, wide = run(typed(precision, base, amax=12.0), x), run(typed(precision, "fp32", amax=12.0), x)

    assert np.linalg.norm(narrow - wide) <= 0.05 * np.linalg.norm(wide)


def test_float4_weights_are_what_they_stand_for():
    x = np.tile(np.eye(64, dtype=np.float32), (3, 1, 1))

    found = run(typed("fp4"), x)

    blocks = WEIGHT.reshape(4, 16, 8)
    scale = np.abs(blocks).max(1, keepdims=True) / 6
    steps = np.abs(found[0].reshape(4, 16, 8) / scale)
    levels = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    assert np.abs(steps[..., None] - levels).min(-1).max() < 1e-5
