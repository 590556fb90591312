"""Q and DQ: where TensorRT fuses them, with the scales that were given, and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from precision_graphs import model_of, ops

from trtpipe.precisions import find_precision

CONV = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32)
MATRIX = np.random.default_rng(1).standard_normal((32, 8)).astype(np.float32)
RESIDUAL = """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
  a = Conv<pads=[1,1,1,1]>(x, w)  b = Relu(a)  c = Conv<pads=[1,1,1,1]>(b, w)  d = Add(c, b)  y = Relu(d)
}"""


def quantized(
    text: str,
    precision: str = "int8",
    *,
    amax: dict[str, float] | None = None,
    block: int | None = None,
    **given,
) -> onnx.ModelProto:
    keep = given.pop("keep", {})
    found = find_precision(precision)
    assert found is not None
    proto = ir.to_proto(model_of(text, opset=21, **given))
    found.prepare(proto)
    model = ir.from_proto(proto)
    plan = found.plan_types(model, keep, base="fp32", amax=amax, block=block)
    assert plan.problems == ()
    found.rewrite(model, plan)
    made = ir.to_proto(model)
    onnx.checker.check_model(made, full_check=True)
    return made


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def test_a_tensor_is_quantized_once_for_all_that_read_it():
    made = quantized(RESIDUAL, amax={"x": 1.0, "b": 2.0}, w=CONV)

    readers = [node for node in made.graph.node if "b_dequantized" in node.input]
    assert ops(made).count("QuantizeLinear") == 2
    assert [node.op_type for node in readers] == ["Conv", "Add"]


def test_what_is_added_to_a_convolution_stays_in_its_epilogue():
    made = quantized(RESIDUAL, amax={"x": 1.0, "b": 2.0}, w=CONV)

    (add,) = [node for node in made.graph.node if node.op_type == "Add"]
    assert sorted(add.input) == ["b_dequantized", "c"]


def test_scales_are_amax_over_127_and_weights_have_one_for_each_output_channel():
    made = quantized(RESIDUAL, amax={"x": 1.27, "b": 2.54}, w=CONV)

    held = constants(made)
    assert held["x_scale"] == pytest.approx(0.01)
    np.testing.assert_allclose(held["w_scale"], np.abs(CONV).max((1, 2, 3)) / 127, rtol=1e-6)
    assert held["w_quantized"].dtype == np.int8
    back = held["w_quantized"] * held["w_scale"].reshape(-1, 1, 1, 1)
    assert np.abs(back - CONV).max() <= held["w_scale"].max() / 2 + 1e-7


def test_a_kept_node_stays_float():
    made = quantized(RESIDUAL, amax={"x": 1.0, "b": 2.0}, w=CONV, keep={"fp32": ["op:Conv"]})

    assert [one for one in ops(made) if one.endswith("Linear")] == ["QuantizeLinear", "DequantizeLinear"]


def test_a_node_whose_tensor_has_no_scale_stays_float():
    made = quantized(RESIDUAL, amax={"x": 1.0}, w=CONV)

    assert ops(made).count("QuantizeLinear") == 1


def test_biases_stay_float():
    text = "g (float[1,4,8,8] x) => (float[1,4,6,6] y) { y = Conv(x, w, b) }"

    made = quantized(text, amax={"x": 1.0}, w=CONV, b=np.ones(4, np.float32))

    assert constants(made)["b"].dtype == np.float32


@pytest.mark.parametrize(("transposed", "axis"), [(False, 1), (True, 0)])
def test_the_channels_of_a_gemm_follow_its_transposition(transposed, axis):
    weight = MATRIX.T if transposed else MATRIX
    text = f"g (float[2,32] x) => (float[2,8] y) {{ y = Gemm<transB={int(transposed)}>(x, w) }}"

    made = quantized(text, amax={"x": 1.0}, w=np.ascontiguousarray(weight))

    (node,) = [n for n in made.graph.node if n.op_type == "DequantizeLinear" and "w_quantized" in n.input]
    assert {one.name: one.i for one in node.attribute} == {"axis": axis}
    assert constants(made)["w_scale"].shape == (8,)


@pytest.mark.parametrize("precision", ["int4", "fp4"])
def test_blocks_of_weights_share_a_scale(precision):
    text = "g (float[2,32] x) => (float[2,8] y) { y = MatMul(x, w) }"

    made = quantized(text, precision, block=16, w=MATRIX)

    assert ops(made) == ["DequantizeLinear", "MatMul"]
    assert constants(made)["w_scale"].shape == (2, 8)


def test_a_sum_that_no_block_divides_stays_float():
    text = "g (float[2,30] x) => (float[2,8] y) { y = MatMul(x, w) }"

    made = quantized(text, "int4", block=16, w=MATRIX[:30])

    assert ops(made) == ["MatMul"]


def test_quantizing_twice_the_same_way_gives_the_same_bytes():
    once, twice = (quantized(RESIDUAL, amax={"x": 1.0, "b": 2.0}, w=CONV) for _ in range(2))

    assert once.SerializeToString(deterministic=True) == twice.SerializeToString(deterministic=True)
