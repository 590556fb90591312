"""fp16: casts at borders only, types consistent everywhere, weights checked, and twice is once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.precisions.precision_graphs import model_of, ops, rewritten, weight_types

SHARED = Path(__file__).parents[3] / "shared/testdata"
W = np.full((4, 4), 0.5, np.float32)
HALF, FLOAT = "FLOAT16", "FLOAT"


def test_casts_stand_at_the_network_borders_only():
    model = model_of(
        "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, w) }", w=W
    )

    proto, report = rewritten(model)

    assert ops(proto) == ["Cast:FLOAT16", "MatMul", "Relu", "MatMul", "Cast:FLOAT"]
    assert weight_types(proto) == {"w": HALF}
    assert len(report.casts) == 2


def test_inputs_and_outputs_keep_name_and_type():
    model = model_of("g (float[1,4] x) => (float[1,4] y, float[1,4] z) { y = Relu(x)  z = Abs(y) }")

    proto, _ = rewritten(model)

    ends = [*proto.graph.input, *proto.graph.output]
    assert [(v.name, v.type.tensor_type.elem_type) for v in ends] == [("x", 1), ("y", 1), ("z", 1)]


def test_a_tensor_is_cast_once_however_many_read_it():
    model = model_of(
        "g (float[4] x) => (float[4] y) { a = Exp(x)  b = Sin(x)  c = Add(a, b)  y = Add(c, x) }"
    )

    proto, _ = rewritten(model)

    assert ops(proto).count("Cast:FLOAT16") == 1


def test_a_kept_node_computes_in_float32_between_two_casts():
    model = model_of(
        "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  b = Softmax(a)  y = MatMul(b, w) }", w=W
    )

    proto, report = rewritten(model, fp32=["op:Softmax"])

    assert ops(proto) == [
        "Cast:FLOAT16",
        "MatMul",
        "Cast:FLOAT",
        "Softmax",
        "Cast:FLOAT16",
        "MatMul",
        "Cast:FLOAT",
    ]
    assert report.plan.why_not() == {"Softmax_1": "kept by 'op:Softmax'"}


def test_a_weight_shared_with_a_kept_node_is_there_in_both_types():
    model = model_of("g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  y = MatMul(a, w) }", w=W)

    proto, _ = rewritten(model, fp32=["MatMul_1"])

    assert weight_types(proto) == {"w": FLOAT, "w_fp16": HALF}


def test_data_movement_between_kept_nodes_stays_with_them():
    model = model_of(
        """g (float[2,4] x) => (float[4,2] y) {
            a = Exp(x)  b = Softmax(a)  c = Transpose<perm=[1,0]>(b)  y = Softmax(c) }"""
    )

    proto, _ = rewritten(model, fp32=["op:Softmax"])

    assert ops(proto) == ["Cast:FLOAT16", "Exp", "Cast:FLOAT", "Softmax", "Transpose", "Softmax"]


@pytest.mark.parametrize(
    ("value", "why"),
    [(1e5, "beyond float16's 65504"), (1e-6, "below float16's smallest normal number"), (-7e4, "beyond")],
    ids=["overflow", "vanishing", "negative overflow"],
)
def test_a_weight_that_half_cannot_hold_keeps_its_node_wide_and_is_named(value, why):
    model = model_of(
        "g (float[4] x) => (float[4] y) { a = Exp(x)  b = Add(a, big)  y = Sin(b) }", big=np.float32(value)
    )

    proto, report = rewritten(model)

    assert weight_types(proto) == {"big": FLOAT}
    assert report.plan.nodes["Add_1"].dtype == "float32"
    assert why in report.warnings[0].fact
    assert "'Add_1' stays in float32: its weight 'big'" in report.warnings[0].fact


@pytest.mark.parametrize("value", [0.0, np.inf, -np.inf, 65504.0, 6.2e-5])
def test_zero_infinity_and_the_extremes_of_half_are_held(value):
    model = model_of("g (float[4] x) => (float[4] y) { y = Add(x, c) }", c=np.float32(value))

    proto, report = rewritten(model)

    assert weight_types(proto) == {"c": HALF}
    assert not report.warnings


def test_bounds_of_clip_saturate_instead_of_keeping_it_wide():
    limits = {"low": np.float32(0), "high": np.float32(3.4e38)}
    model = model_of("g (float[4] x) => (float[4] y) { y = Clip(x, low, high) }", **limits)

    proto, _ = rewritten(model)

    high = next(t for t in proto.graph.initializer if t.name == "high")
    assert numpy_helper.to_array(high) == np.float16(65504)


def test_weights_are_rounded_to_nearest_even():
    values = np.array([1 + 2**-11, 1 + 3 * 2**-11, 0.1], np.float32)
    model = model_of("g (float[3] x) => (float[3] y) { y = Add(x, w) }", w=values)

    proto, _ = rewritten(model)

    assert np.array_equal(numpy_helper.to_array(proto.graph.initializer[0]), values.astype(np.float16))


CASES = {
    "resize keeps its scales": (
        "g (float[1,1,4,4] x) => (float[1,1,8,8] y) { e = Exp(x)  y = Resize(e, , scales) }",
        {"scales": np.array([1, 1, 2, 2], np.float32)},
        {"scales": FLOAT},
    ),
    "range stays float32": (
        "g (float[5] x) => (float[5] y) { r = Range(a, b, c)  y = Add(x, r) }",
        {"a": np.float32(0), "b": np.float32(5), "c": np.float32(1)},
        {"a": FLOAT, "b": FLOAT, "c": FLOAT},
    ),
    "pow's exponent goes along": (
        "g (float[4] x) => (float[4] y) { y = Pow(x, e) }",
        {"e": np.float32(2)},
        {"e": HALF},
    ),
    "integers are left alone": (
        "g (float[4] x) => (float[2] y, int64[2] i) { y, i = TopK(x, k) }",
        {"k": np.array([2])},
        {"k": "INT64"},
    ),
    "old quantize keeps its scale": (
        "g (float[4] x) => (float[4] y) { q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = Exp(d) }",
        {"s": np.float32(0.1), "z": np.int8(0)},
        {"s": FLOAT, "z": "INT8"},
    ),
    "batch normalization goes along": (
        "g (float[1,2,3] x) => (float[1,2,3] y) { y = BatchNormalization(x, s, b, m, v) }",
        {name: np.ones(2, np.float32) for name in "sbmv"},
        dict.fromkeys("sbmv", HALF),
    ),
}


@pytest.mark.parametrize(("text", "weights", "types"), CASES.values(), ids=CASES)
def test_types_follow_the_operator_schemas(text, weights, types):
    proto, _ = rewritten(model_of(text, **weights))

    assert weight_types(proto) == types


def test_an_operator_without_half_in_its_opset_stays_wide():
    text = (
        "g (float[4] x) => (float[4] y) { a = Exp(x)  q = QuantizeLinear(a, s)  y = DequantizeLinear(q, s) }"
    )

    _, report = rewritten(model_of(text, s=np.float32(0.1)))

    assert (
        report.plan.why_not()["QuantizeLinear_1"]
        == "ONNX does not allow float16 for QuantizeLinear in opset 17"
    )


def test_sizes_computed_from_shapes_stay_in_float32():
    model = model_of(
        """g (float[N,4] x) => (float[N,4] y, int64[2] n) {
            s = Shape(x)  f = Cast<to=1>(s)  d = Mul(f, two)  n = Cast<to=7>(d)  y = Exp(x) }""",
        two=np.float32(2),
    )

    proto, report = rewritten(model)

    assert report.plan.nodes["Mul_2"].dtype == "float32"
    assert weight_types(proto) == {"two": FLOAT}


def test_casts_of_the_source_between_floats_are_dissolved():
    model = model_of(
        "g (float[4] x) => (float[4] y) { a = Exp(x)  b = Cast<to=11>(a)  c = Cast<to=1>(b)  y = Sin(c) }"
    )

    proto, _ = rewritten(model)

    assert ops(proto) == ["Cast:FLOAT16", "Exp", "Sin", "Cast:FLOAT"]


def test_a_cast_from_integers_makes_half_at_once():
    proto, _ = rewritten(model_of("g (int64[4] x) => (float[4] y) { a = Cast<to=1>(x)  y = Exp(a) }"))

    assert ops(proto) == ["Cast:FLOAT16", "Exp", "Cast:FLOAT"]


def test_float64_is_computed_in_float32():
    proto, report = rewritten(model_of("g (double[4] x) => (double[4] y) { y = Exp(x) }"))

    assert ops(proto) == ["Cast:FLOAT", "Exp", "Cast:DOUBLE"]
    assert report.plan.why_not() == {"Exp_0": "it is float64 in the source"}


def test_a_tensor_that_is_two_outputs_stays_both():
    model = model_of("g (float[4] x) => (float[4] y, float[4] z) { y = Exp(x)  z = Identity(y) }")

    proto, _ = rewritten(model)

    assert [v.name for v in proto.graph.output] == ["y", "z"]


BRANCHES = """g (float[4] x, bool c) => (float[4] y) {
    a = Exp(x)
    r = If (c) <then_branch = t () => (float[4] p) { p = Add(a, w) },
                else_branch = e () => (float[4] q) { k = Sin(a)  q = Mul(k, w) }>
    y = Cos(r) }"""
LOOP = """g (float[4] x) => (float[4] y) {
    a = Exp(x)
    y = Loop (n, , a) <body = b (int64 i, bool k, float[4] s) => (bool k2, float[4] s2) {
        k2 = Identity(k)  t = Add(s, a)  s2 = Mul(t, w) }> }"""
SCAN = """g (float[3,4] x) => (float[4] y, float[3,4] z) {
    a = Exp(x)
    y, z = Scan (w, a) <num_scan_inputs = 1, body = b (float[4] s, float[4] e) => (float[4] s2, float[4] o) {
        s2 = Add(s, e)  o = Mul(s2, w) }> }"""


@pytest.mark.parametrize(
    ("text", "weights"),
    [(BRANCHES, {"w": W[0]}), (LOOP, {"w": W[0], "n": np.array(2)}), (SCAN, {"w": W[0]})],
    ids=["If", "Loop", "Scan"],
)
def test_nested_graphs_see_outer_values_in_the_right_type(text, weights):
    proto, report = rewritten(model_of(text, **weights))

    expected = run(ir.to_proto(model_of(text, **weights)))
    assert report.plan.counts()["float16"] >= 1
    for name, value in run(proto).items():
        assert np.allclose(value, expected[name], rtol=2e-3), name


def run(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    session = ReferenceEvaluator(proto)
    feed = {"x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}
    if len(proto.graph.input[0].type.tensor_type.shape.dim) == 1:
        feed["x"] = feed["x"][0]
    feed |= {"c": np.array(True)} if any(v.name == "c" for v in proto.graph.input) else {}
    names = [v.name for v in proto.graph.output]
    return dict(zip(names, session.run(names, feed), strict=True))


def texts():
    yield from ((name, text, weights) for name, (text, weights, _) in CASES.items())
    yield "If", BRANCHES, {"w": W[0]}
    yield "Loop", LOOP, {"w": W[0], "n": np.array(2)}
    yield (
        "overflow",
        "g (float[4] x) => (float[4] y) { a = Exp(x)  b = Add(a, c)  y = Sin(b) }",
        {"c": np.float32(1e5)},
    )


@pytest.mark.parametrize(("text", "weights"), [t[1:] for t in texts()], ids=[t[0] for t in texts()])
def test_rewriting_twice_gives_the_bytes_of_once(text, weights):
    once, _ = rewritten(model_of(text, **weights))

    twice, _ = rewritten(ir.from_proto(onnx.ModelProto.FromString(once.SerializeToString())))

    assert twice.SerializeToString() == once.SerializeToString()


def test_rewriting_with_keep_twice_gives_the_bytes_of_once():
    text = "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  b = Softmax(a)  y = MatMul(b, w) }"
    once, _ = rewritten(model_of(text, w=W), fp32=["op:Softmax"])

    twice, _ = rewritten(
        ir.from_proto(onnx.ModelProto.FromString(once.SerializeToString())), fp32=["op:Softmax"]
    )

    assert twice.SerializeToString() == once.SerializeToString()


@pytest.mark.parametrize("name", ["ppocr_cls", "silero_vad_op18_ifless", "magika_v3_3", "mtcnn_rnet"])
def test_real_models_become_consistent_half_models(name):
    path = SHARED / f"onnx/real/{name}.onnx"
    if not path.exists():
        pytest.skip(f"{name}.onnx is not beside this checkout")

    _, report = rewritten(ir.load(path))

    counts = report.plan.counts()
    assert counts["float16"] > counts.get("float32", 0)
