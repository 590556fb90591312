"""Normalizations, softmax and sums compute in float32 unless the spec holds them; so does what overflows on data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from tests.precisions.precision_graphs import model_of, ops, rewritten
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.casts.overflow import Measured, tensors_to_range

SPELLED_OUT = {
    "layer norm": """g (float[2,8] x) => (float[2,8] y) {
        h = Exp(x)  m = ReduceMean<axes=[-1]>(h)  d = Sub(h, m)  s = Pow(d, two)  v = ReduceMean<axes=[-1]>(s)
        e = Add(v, eps)  r = Sqrt(e)  n = Div(d, r)  y = Tanh(n) }""",
    "root mean square": """g (float[2,8] x) => (float[2,8] y) {
        h = Exp(x)  s = Mul(h, h)  v = ReduceMean<axes=[-1]>(s)  e = Add(v, eps)  r = Sqrt(e)  i = Reciprocal(r)
        n = Mul(h, i)  y = Tanh(n) }""",
    "reciprocal root": """g (float[2,8] x) => (float[2,8] y) {
        h = Exp(x)  s = Mul(h, h)  v = ReduceMean<axes=[-1]>(s)  e = Add(v, eps)  i = Pow(e, half)
        n = Mul(h, i)  y = Tanh(n) }""",
    "variance as a difference": """g (float[2,8] x) => (float[2,8] y) {
        h = Exp(x)  t = ReduceMean<axes=[-1]>(h)  s = Mul(h, h)  q = ReduceMean<axes=[-1]>(s)  p = Mul(t, t)
        v = Sub(q, p)  r = Sqrt(v)  d = Sub(h, t)  n = Div(d, r)  y = Tanh(n) }""",
}
SCALARS = {"two": np.float32(2), "eps": np.float32(1e-5), "half": np.float32(-0.5)}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", SPELLED_OUT)
def test_a_normalization_that_is_spelled_out_is_one_island_of_float32(name, precision):
    used = {key: value for key, value in SCALARS.items() if key in SPELLED_OUT[name]}
    model = model_of(SPELLED_OUT[name], opset=17, **used)

    plan = find_precision(precision).plan_types(model)

    low = find_precision(precision).dtype
    narrow = [node.op_type for node in plan.nodes.values() if node.dtype == low]
    assert narrow in (["Exp", "Tanh"], ["Exp", "Sub", "Tanh"])
    assert set(plan.by_default.values()) == {"normalization"}


@pytest.mark.parametrize(
    "body",
    [
        "a = Exp(x)  y = Sqrt(a)",
        "s = Mul(x, x)  y = Sqrt(s)",
        "m = ReduceMean<axes=[-1]>(x)  r = Sqrt(m)  y = Div(x, r)",
        "y = ReduceMean<axes=[-1]>(x)",
        "y = ReduceMax<axes=[-1]>(x)",
    ],
    ids=["root", "distance", "root of a mean", "mean", "maximum"],
)
def test_what_is_no_normalization_stays_narrow(body):
    model = model_of(f"g (float[2,8] x) => (float[2,8] y) {{ {body} }}")

    assert not find_precision("fp16").plan_types(model).by_default


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("y = Softmax(x)", "softmax"),
        ("y = LogSoftmax(x)", "softmax"),
        ("y = ReduceSum(x)", "sum"),
        ("y = ReduceL2(x)", "sum"),
        ("y = LpNormalization(x)", "normalization"),
        ("y = LayerNormalization<axis=-1>(x, w)", "normalization"),
    ],
)
def test_operators_that_compute_in_float32_and_the_way_out(body, kind):
    text = f"g (float[2,8] x) => (float[M,N] y) {{ {body} }}"
    weights = {"w": np.ones(8, np.float32)} if "w)" in body else {}

    by_default = find_precision("fp16").plan_types(model_of(text, **weights))
    held = find_precision("fp16").plan_types(model_of(text, **weights), {"fp16": ["*"]})

    assert list(by_default.by_default.values()) == [kind]
    assert by_default.counts() == {"float32": 1}
    assert held.counts() == {"float16": 1}
    assert not held.by_default


def test_a_node_that_the_type_refuses_is_not_held_in_it():
    plan = find_precision("fp16").plan_types(
        model_of("g (float[4] x) => (float[4] y) { y = Celu(x) }"), {"fp16": ["*"]}
    )

    assert plan.counts() == {"float32": 1}


def test_softmax_between_products_costs_two_casts():
    model = model_of(
        "g (float[4,4] x) => (float[4,4] y) { s = MatMul(x, w)  p = Softmax(s)  y = MatMul(p, w) }",
        w=np.eye(4, dtype=np.float32),
    )

    proto, _ = rewritten(model)

    assert ops(proto)[1:-1] == ["MatMul", "Cast:FLOAT", "Softmax", "Cast:FLOAT16", "MatMul"]


CHAIN = (
    "g (float[4] x) => (float[4] y) { a = Exp(x)  b = Mul(a, a)  c = Transpose(b)  d = Sqrt(c)  y = Sin(d) }"
)


def planned(ranges, sums=None, text=CHAIN, refuse=False, keep=None, **weights):
    choices = Choices(Measured(ranges, sums or {}), refuse)
    path = ("variants", "half", "keep")
    return find_precision("fp16").plan_types(model_of(text, **weights), keep, path, choices=choices)


def wide(plan):
    return {node.op_type for node in plan.nodes.values() if node.dtype == "float32"}


def test_what_makes_and_reads_a_tensor_that_overflows_is_kept_with_what_moves_it():
    plan = planned({"x": 6, "a": 400, "b": 1.6e5, "c": 1.6e5, "d": 400, "y": 1})

    assert wide(plan) == {"Mul", "Transpose", "Sqrt"}
    assert plan.why_not()["Mul_1"] == "'b' reaches 160000 on the calibration set"
    assert plan.overflows["Sqrt_3"].tensor == "c"


@pytest.mark.parametrize(("reaches", "kept"), [(32752, set()), (32753, {"Mul", "Transpose", "Sqrt"})])
def test_the_margin_is_two(reaches, kept):
    assert wide(planned({"b": reaches, "c": reaches})) == kept


def test_a_sum_inside_a_mean_counts():
    text = "g (float[2,4096] x) => (float[2,1] y) { y = ReduceMean<axes=[-1]>(x) }"

    assert not wide(planned({"x": 50, "y": 30}, {"y": 30000.0}, text))
    plan = planned({"x": 50, "y": 30}, {"y": 1.2e5}, text)

    assert wide(plan) == {"ReduceMean"}
    assert plan.overflows["ReduceMean_0"].words() == "what makes 'y' adds up to 120000 on the calibration set"


def test_a_square_inside_a_norm_counts_when_the_norm_is_held_in_half_by_a_larger_glob():
    text = "g (float[2,4] x) => (float[2,1] y) { a = Exp(x)  y = ReduceL2(a) }"

    assert planned({"a": 300, "y": 300}, text=text).by_default == {"ReduceL2_1": "sum"}


def test_a_node_that_the_spec_holds_in_half_is_held_although_it_overflows():
    plan = planned({"b": 1e5, "c": 1e5}, keep={"fp16": ["op:Mul"]})

    assert wide(plan) == {"Transpose", "Sqrt"}


def test_a_refusal_names_node_tensor_and_range_and_prints_the_keep():
    (problem,) = planned({"b": 1e5}, refuse=True).problems

    assert problem.fact == (
        "2 nodes overflow float16, which ends at 65504 (a margin of 2 is kept): "
        "'Mul_1': 'b' reaches 100000 on the calibration set"
    )
    assert problem.remedy.splitlines() == [
        "'Transpose_2': 'b' reaches 100000 on the calibration set",
        "keep them in float32: overflow: keep, or",
        'keep: {fp32: ["Mul_1", "Transpose_2"]}',
    ]
    assert problem.path == ("variants", "half", "overflow")


def test_bfloat16_overflows_nowhere():
    choices = Choices(Measured({"b": 1e30}))

    assert not find_precision("bf16").plan_types(model_of(CHAIN, opset=22), choices=choices).overflows


def test_a_quantized_operand_counts_as_what_it_was_made_of():
    text = "g (float[1,4] x) => (float[1,4] y) { a = Relu(x)  b = MatMul(a, w)  y = Relu(b) }"
    model = model_of(text, w=np.eye(4, dtype=np.float32))
    choices = Choices(Measured({"x": 1e5, "a": 1e5, "b": 3, "y": 3}))

    plan = find_precision("int8").plan_types(model, choices=replace(choices, amax={"a": 1e5}))

    assert {plan.nodes[name].dtype for name in plan.overflows} == {"float32"}
    assert {node.op_type for node in plan.nodes.values() if node.dtype == "float32"} == {
        "Relu", "QuantizeLinear", "DequantizeLinear", "MatMul",
    }  # fmt: skip
    assert plan.nodes["Relu_2"].dtype == "float16"


def test_nodes_in_branches_are_counted_as_not_measured():
    text = """g (float[4] x, bool on) => (float[4] y) {
        a = Exp(x)
        y = If(on) <then_branch = t () => (float[4] p) { p = Sin(a) },
            else_branch = f () => (float[4] q) { q = Cos(a) }>
    }"""

    assert planned({"x": 1, "a": 2, "y": 1}, text=text).unmeasured == 2
    assert find_precision("fp16").plan_types(model_of(text)).unmeasured == 0


def test_every_float_tensor_of_the_main_graph_is_measured_and_means_know_their_source():
    model = model_of(
        """g (float[1,3,8] x, int64[1] n) => (float[1,3,1] y) {
            s = Shape(x)  a = Exp(x)  c = Constant<value_float=1.0>()  b = Add(a, c)  y = ReduceMean<axes=[2]>(b) }"""
    )

    assert tensors_to_range(model) == (("x", "a", "b", "y"), {"y": "b"})
    assert isinstance(model, ir.Model)
