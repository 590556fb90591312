"""Q and DQ: where TensorRT fuses them, with the scales that were given, and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from tests.precisions.precision_graphs import model_of, ops
from trtpipe.precisions import Choices, find_precision

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
    plan = found.plan_types(model, keep, choices=Choices(base="fp32", amax=amax, block=block))
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


def reasons(text: str, precision: str = "int8", **weights: np.ndarray) -> dict[str, str]:
    """Why nodes are not quantized."""
    found = find_precision(precision)
    assert found is not None
    model = model_of(text, opset=21, **weights)
    return found.plan_types(model, choices=Choices(base="fp32")).why_not()


def test_a_model_that_is_quantized_already_is_left_as_it_is():
    once = quantized(RESIDUAL, amax={"x": 1.0, "b": 2.0}, w=CONV)
    model = ir.from_proto(once)
    found = find_precision("int8")
    assert found is not None

    plan = found.plan_types(
        model, choices=Choices(base="fp32", amax={"x": 9.0, "b": 9.0, "x_dequantized": 9.0})
    )
    found.rewrite(model, plan)

    assert plan.quantized == ()
    assert plan.why_not()["Conv_0"] == "the source has quantized it already"
    assert [node.op_type for node in ir.to_proto(model).graph.node] == [n.op_type for n in once.graph.node]
    assert constants(ir.to_proto(model)).keys() == constants(once).keys()


ATTENTION = """g (float[1,4,8,16] q, float[1,4,16,8] k, float[1,4,8,16] v) => (float[1,4,8,16] y) {
  s = MatMul(q, k)  p = Softmax(s)  y = MatMul(p, v)
}"""


def test_attention_is_quantized_in_fp8_and_not_in_int8():
    fp8 = quantized(ATTENTION, "fp8", amax=dict.fromkeys("qkvp", 1.0))

    assert ops(fp8).count("QuantizeLinear") == 4
    assert set(reasons(ATTENTION)) == {"MatMul_0", "MatMul_2"}
    assert "fuses attention in float" in reasons(ATTENTION)["MatMul_0"]


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_channels_of_a_transposed_constant_are_its_own(precision):
    text = "g (float[2,32] x) => (float[2,8] y) { t = Transpose<perm=[1,0]>(w)  y = MatMul(x, t) }"

    made = quantized(
        text,
        precision,
        amax={"x": 1.0},
        block=32 if precision == "int4" else None,
        w=np.ascontiguousarray(MATRIX.T),
    )

    (node,) = [n for n in made.graph.node if n.op_type == "DequantizeLinear" and "w_quantized" in n.input]
    (reader,) = [n for n in made.graph.node if node.output[0] in n.input]
    assert reader.op_type == "Transpose"
    assert {one.name: one.i for one in node.attribute}["axis"] == (0 if precision == "int8" else 1)
    assert constants(made)["w_scale"].shape == ((8,) if precision == "int8" else (8, 1))


def test_a_transposed_constant_that_others_read_too_is_no_weight():
    text = """g (float[2,32] x) => (float[2,8] y, float[32,8] z) {
      t = Transpose<perm=[1,0]>(w)  y = MatMul(x, t)  z = Neg(t) }"""
    found = find_precision("fp8")
    assert found is not None
    model = model_of(text, opset=21, w=np.ascontiguousarray(MATRIX.T))

    plan = found.plan_types(model, choices=Choices(base="fp32", amax={"x": 1.0}))

    assert plan.why_not()["MatMul_1"] == "the calibration has no scale for 't'"


def test_what_computes_in_branches_stays_float_and_says_so():
    text = """g (bool c, float[2,32] x) => (float[2,8] y) {
      y = If (c) <then_branch = t () => (float[2,8] a) { a = MatMul(x, w) },
                  else_branch = e () => (float[2,8] b) { b = MatMul(x, w) }> }"""

    assert set(reasons(text, w=MATRIX).values()) >= {"it is in a branch or in the body of a loop"}


def test_transposed_convolutions_are_quantized_in_int8_alone():
    text = "g (float[1,4,8,8] x) => (float[1,4,10,10] y) { y = ConvTranspose(x, w) }"

    made = quantized(text, amax={"x": 1.0}, w=CONV)

    (node,) = [n for n in made.graph.node if n.op_type == "DequantizeLinear" and "w_quantized" in n.input]
    assert {one.name: one.i for one in node.attribute} == {"axis": 1}
    assert "not in fp8" in reasons(text, "fp8", w=CONV)["ConvTranspose_0"]


BLOCKS = "g (float[B,16,64] x) => (float[B,16,8] y) { y = MatMul(x, w) }"
TALL = np.random.default_rng(2).standard_normal((64, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("precision", "operators"),
    [
        ("nvfp4", ["TRT_FP4DynamicQuantize", *["DequantizeLinear"] * 4, "MatMul"]),
        ("mxfp8", ["TRT_MXFP8DynamicQuantize", *["TRT_MXFP8DequantizeLinear"] * 2, "MatMul"]),
    ],
)
def test_both_operands_are_quantized_in_blocks(precision, operators):
    made = quantized(BLOCKS, precision, amax={"x": 1.0}, w=TALL)

    assert ops(made) == operators
    assert {node.domain for node in made.graph.node if node.op_type.startswith("TRT_")} == {"trt"}
    assert {one.domain: one.version for one in made.opset_import}["trt"] == 1


@pytest.mark.parametrize(
    ("text", "shape", "why"),
    [
        ("g (float[2,3,16,64] x) => (float[2,3,16,8] y) { y = MatMul(x, w) }", (64, 8), "'x' has 4 axes"),
        ("g (float[16,32] x) => (float[16,8] y) { y = MatMul(x, w) }", (32, 8), "are one block"),
        (
            "g (float[16,72] x) => (float[16,8] y) { y = MatMul(x, w) }",
            (72, 8),
            "not a multiple of the block of 32",
        ),
        ("g (float[16,64] x) => (float[8,64] y) { y = MatMul(w, x) }", (8, 16), "is the left operand"),
        ("g (float[64,16] x) => (float[16,8] y) { y = Gemm<transA=1>(x, w) }", (64, 8), "is transposed"),
        ("g (float[2,16,64] x) => (float[2,16,8] y) { y = MatMul(x, w) }", (2, 64, 8), "has 3 axes"),
    ],
    ids=["axes", "one block", "no multiple", "left", "transposed", "batched"],
)
def test_what_has_no_blocks_stays_float_and_says_so(text, shape, why):
    assert why in reasons(text, "mxfp8", w=np.ones(shape, np.float32)).popitem()[1]


@pytest.mark.parametrize("precision", ["int8", "fp8", "int4", "fp4", "nvfp4", "mxfp8"])
def test_planning_reads_no_weight(precision):
    def never() -> ir.TensorProtocol:
        raise AssertionError("a weight was read")

    model = model_of("g (float[16,64] x) => (float[16,8] y) { y = MatMul(x, w) }", opset=21, w=TALL)
    value = model.graph.initializers["w"]
    value.const_value = ir.LazyTensor(never, dtype=ir.DataType.FLOAT, shape=ir.Shape((64, 8)), name="w")
    found = find_precision(precision)
    assert found is not None

    assert found.plan_types(model).quantized == ("MatMul_0",)
