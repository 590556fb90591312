"""Quantizing random graphs: nothing changes but by the rounding of operands, and what is kept is left alone."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.precisions.precision_graphs import model_of
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.quantization.formats import QUANTIZED
from trtpipe.precisions.quantization.places import tensors_to_scale
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner

FEW = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
STATIC, WEIGHTS, BLOCKS = ("int8", "fp8"), ("int4", "fp4"), ("nvfp4", "mxfp8")
BLOCK = {"int4": 64, "fp4": 16, "nvfp4": 16, "mxfp8": 32}
LEVELS = {
    "int8": np.arange(-127, 128),
    "int4": np.arange(-7, 8),
    "fp8": np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn),
    "fp4": np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn),
}
LEVELS |= {"mxfp8": LEVELS["fp8"], "nvfp4": LEVELS["fp4"]}
LEVELS = {
    name: np.unique(one.astype(np.float64)[np.isfinite(one.astype(np.float64))])
    for name, one in LEVELS.items()
}
"""Every finite number of each type."""


def rewritten(text, precision, base, amax=None, keep=None, opset=21, **weights):
    found = find_precision(precision)
    proto = ir.to_proto(model_of(text, opset=opset, **weights))
    found.prepare(proto, base)
    model = ir.from_proto(proto)
    known = dict.fromkeys(tensors_to_scale(model), amax) if amax else None
    plan = found.plan_types(model, keep or {}, choices=Choices(base=base, amax=known))
    assert plan.problems == ()
    found.rewrite(model, plan)
    return model, plan


def constant(model, name):
    """An initializer's values; one that was cast has its rounded values."""
    value = model.graph.initializers.get(name)
    return None if value is None else value.const_value.numpy().astype(np.float64)


def nearest(values, levels):
    """The distance from each value to the nearest level."""
    index = np.clip(np.searchsorted(levels, values), 1, len(levels) - 1)
    return np.minimum(np.abs(levels[index] - values), np.abs(levels[index - 1] - values))


def scales_over(model, name, precision, shape):
    """The scale of each element of a weight of (sums, channels), from the constants in the model."""
    scale, blocks = constant(model, f"{name}_scale"), constant(model, f"{name}_block_scales")
    if precision == "mxfp8":
        scale = 2.0 ** (blocks - 127)
    elif precision == "nvfp4":
        scale = blocks * scale
    if precision in BLOCK:
        return np.repeat(scale, BLOCK[precision], axis=0)
    return np.broadcast_to(scale.reshape(1, -1), shape)


SPECIAL = [0.0, -0.0, 1e-45, -1e-40, 2.0**-126, 1e-8, 65504.0, 1e5, 1e30, 3e38, -3.4e38, 1.0, 0.5, -2.5]
MAGNITUDES = st.one_of(
    st.floats(-8, 8, width=32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([float(np.float32(one)) for one in SPECIAL]),
)


@pytest.mark.parametrize("precision", [*STATIC, *WEIGHTS, *BLOCKS])
@pytest.mark.parametrize("base", ["fp32", "fp16", "bf16"])
@FEW
@given(weight=arrays.arrays(np.float32, st.tuples(st.just(64), st.integers(1, 3)), elements=MAGNITUDES))
def test_every_weight_becomes_the_nearest_number_of_its_type(precision, base, weight):
    channels = weight.shape[1]
    text = f"g (float[2,64] x) => (float[2,{channels}] y) {{ y = MatMul(x, w) }}"

    model, plan = rewritten(text, precision, base, amax=4.0, w=weight)

    assert plan.quantized == ("MatMul_0",)
    stored = constant(model, "w_quantized")
    scale = scales_over(model, "w", precision, weight.shape)
    assert (scale > 0).all()
    exact = weight.astype(np.float64)
    with np.errstate(over="ignore"):
        moved = np.abs(stored * scale - exact)
    least = nearest(exact / scale, LEVELS[precision]) * scale
    assert (moved <= least + 1e-6 * np.abs(exact) + 1e-44).all()
    if precision in ("int8", "int4"):  # nothing is clipped, so half a step is the most
        assert (moved <= scale * (0.5 + 1e-6)).all()


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_ties_go_to_even(precision):
    ties = np.arange(-6.5, 7.5)

    assert (QUANTIZED[precision].rounded(ties).astype(np.int64) % 2 == 0).all()


@pytest.mark.parametrize("precision", ["fp8", "fp4"])
def test_ties_of_floats_go_to_even(precision):
    kind = QUANTIZED[precision]
    levels = LEVELS[precision]
    ties = ((levels[1:] + levels[:-1]) / 2).astype(np.float32)

    rounded = kind.rounded(ties)

    bits = rounded.view(np.uint8)
    assert (bits & 1 == 0).all()


@pytest.mark.parametrize("precision", list(QUANTIZED))
def test_one_element_zeros_and_negative_zeros_have_a_scale(precision):
    for amax in (0.0, -0.0, 1e-45, 3.4e38):
        for held in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
            scale = QUANTIZED[precision].scale_of(np.float32(amax), held)
            assert np.isfinite(scale) and scale > 0 and np.isfinite(1 / scale)
            # Narrow types round up; a float32 scale is the nearest, so that it comes back to the bit.
            short = 0 if held == ir.DataType.BFLOAT16 else 2.0**-23
            assert amax * (1 - short) <= float(scale) * QUANTIZED[precision].largest


def products(draw):
    """Independent products of one input: their text, their weights, and how numpy computes each in float64."""
    count = draw(st.integers(1, 4))
    text, weights, computed = [], {}, []
    for index in range(count):
        kind = draw(st.sampled_from(["MatMul", "Gemm", "GemmT"]))
        channels = draw(st.integers(1, 5))
        seed = draw(st.integers(0, 1000))
        weight = np.random.default_rng(seed).standard_normal((64, channels)).astype(np.float32)
        weight[:, 0] *= draw(st.sampled_from([0, 1, 1e-6, 1e4]))
        stored = np.ascontiguousarray(weight.T) if kind == "GemmT" else weight
        weights[f"w{index}"] = stored
        operator = {"MatMul": "MatMul", "Gemm": "Gemm", "GemmT": "Gemm<transB=1>"}[kind]
        text.append(f"p{index} = {operator}(x, w{index})")
        computed.append(weight)
    names = ", ".join(f"p{index}" for index in range(count))
    total = sum(one.shape[1] for one in computed)
    body = f"{'  '.join(text)}  y = Concat<axis=1>({names})"
    return f"g (float[3,64] x) => (float[3,{total}] y) {{ {body} }}", weights, computed


GRAPHS = st.composite(products)()


def rounded(values, precision, amax=None):
    """What an operand of (rows, sums) becomes, by the formats' definitions; static scales where `amax` is given."""
    levels = LEVELS[precision]
    if precision in STATIC:
        top = levels[-1]
        peak = np.abs(values).max(axis=1, keepdims=True) if amax is None else amax
        scale = np.where(np.asarray(peak) > 0, np.float32(peak) / top, 1.0)
        return _nearest_level(values / scale, levels) * scale
    blocks = values.reshape(-1, BLOCK[precision]).astype(np.float64)
    peak = np.abs(blocks).max(axis=1, keepdims=True)
    if precision == "mxfp8":
        scale = 2.0 ** np.ceil(np.log2(np.where(peak > 0, peak, 448) / 448))
    elif precision == "nvfp4":
        whole = ((np.abs(values).max() or 1.0) if amax is None else amax) / (448 * 6)
        fine = np.minimum(peak / 6 / whole, 448).astype(np.float32).astype(ml_dtypes.float8_e4m3fn)
        scale = np.maximum(fine.astype(np.float64), 0 if amax else 2.0**-9) * whole
        scale = np.where(scale > 0, scale, 1)
    else:
        scale = np.where(peak > 0, peak / levels[-1], 1.0)
    return (_nearest_level(blocks / scale, levels) * scale).reshape(values.shape)


def _nearest_level(values, levels):
    index = np.clip(np.searchsorted(levels, values), 1, len(levels) - 1)
    low, high = levels[index - 1], levels[index]
    return np.where(values - low <= high - values, low, high)


@pytest.mark.parametrize("precision", [*STATIC, *WEIGHTS, *BLOCKS])
@FEW
@given(graph=GRAPHS, seed=st.integers(0, 1000))
def test_a_graph_computes_on_rounded_operands_and_changes_in_nothing_else(precision, graph, seed):
    text, weights, computed = graph
    x = np.random.default_rng(seed).standard_normal((3, 64)).astype(np.float32)
    amax = float(np.abs(x).max())
    model, _ = rewritten(text, precision, "fp32", amax=amax, **weights)
    onnx.checker.check_model(ir.to_proto(model))

    with open_runner(RunnableModel(ir.to_proto(model), Path(), Path("typed.onnx")), threads=1) as runner:
        found = runner.infer({"x": x})["y"]

    operand = x.astype(np.float64) if precision in WEIGHTS else rounded(x, precision, amax)
    narrow = [rounded(one.T.astype(np.float64), precision).T for one in computed]
    expected = np.concatenate([operand @ one for one in narrow], axis=1)
    # ties and near ties may fall either way where float32 divides, and one operand then moves by a step
    reach = np.concatenate([np.abs(operand) @ np.abs(one) for one in narrow], axis=1)
    assert (np.abs(found - expected) <= 0.01 * reach + 1e-30).all()
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(reach) + 1e-30


@pytest.mark.parametrize("precision", [*STATIC, *WEIGHTS, *BLOCKS])
@FEW
@given(graph=GRAPHS, data=st.data())
def test_what_is_kept_reads_nothing_quantized_and_the_rest_does(precision, graph, data):
    text, weights, computed = graph
    names = [node.name for node in ir.to_proto(model_of(text, opset=21, **weights)).graph.node][
        : len(computed)
    ]
    kept = set(data.draw(st.lists(st.sampled_from(names), unique=True)))

    model, plan = rewritten(text, precision, "fp16", amax=4.0, keep={"fp32": sorted(kept)}, **weights)

    assert set(plan.quantized) == set(names) - kept
    proto = ir.to_proto(model)
    made_by = {output: node for node in proto.graph.node for output in node.output}
    for node in proto.graph.node:
        if node.name in names:
            narrow = [_dequantizes(made_by.get(name), made_by) for name in node.input[:2]]
            assert narrow[1] == (node.name not in kept)
            assert narrow[0] == (node.name not in kept and precision not in WEIGHTS)


def _dequantizes(node, made_by):
    while node is not None and node.op_type == "Cast":
        node = made_by.get(node.input[0])
    return node is not None and node.op_type.endswith("DequantizeLinear")
