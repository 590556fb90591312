"""The audit: counts per type from both witnesses, and an error when fp16 came out as float32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.precisions.precision_graphs import model_of, rewritten
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.audit import audit_engine
from trtpipe.precisions.audit.typed import typed_audit

W = np.full((4, 4), 0.5, np.float32)
TEXT = "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  b = Softmax(a)  y = MatMul(b, w) }"


def layer(kind, dtype):
    return {"name": kind, "type": kind, "outputs": [{"name": "t", "dtype": dtype, "shape": [1]}]}


def test_typed_audit_counts_nodes_weights_and_bytes():
    proto, _ = rewritten(model_of(TEXT, w=W), fp32=["op:Softmax"])

    audit = typed_audit(ir.from_proto(proto)).to_json()

    assert audit["nodes"] == {"float16": 2, "float32": 1}
    assert audit["weight_bytes"] == {"float16": 32}
    assert audit["casts"] == 4
    assert audit["low_precision_share"] == {"nodes": pytest.approx(2 / 3), "weight_elements": 1.0}


def test_an_fp32_engine_for_an_fp16_variant_is_an_error_with_the_reasons():
    typed = typed_audit(model_of(TEXT, w=W)).to_json()
    network = {"layers": [layer("MATRIX_MULTIPLY", "float32"), layer("SOFTMAX", "float32")]}
    why_not = {"MatMul_0": "kept by '*'", "MatMul_2": "kept by '*'"}

    audit = audit_engine(network, None, typed, "fp16", 0.1, why_not)

    (problem,) = audit.problems
    assert problem.fact.startswith(
        "precision 'fp16' was asked for, but the engine has only 0.0% of its layers and 0.0% of its weights in it"
    )
    assert "2 nodes stayed wider because kept by '*': 'MatMul_0', 'MatMul_2'" in problem.remedy


def test_an_fp16_engine_passes_and_casts_do_not_count():
    typed = typed_audit(ir.from_proto(rewritten(model_of(TEXT, w=W))[0])).to_json()
    layers = [layer("CAST", "float32"), layer("MATRIX_MULTIPLY", "float16"), layer("SHUFFLE", "int64")]

    audit = audit_engine({"layers": layers}, None, typed, "fp16", 0.9)

    assert audit.layers == {"float16": 1}
    assert (audit.low_layer_share, audit.low_weight_share) == (1.0, 1.0)
    assert not audit.problems


def test_fp32_is_never_audited_for_low_precision():
    assert not audit_engine({"layers": [layer("SOFTMAX", "float32")]}, None, {}, "fp32", 1.0).problems


def test_an_engine_without_any_floats_proves_nothing():
    audit = audit_engine({"layers": [layer("SHUFFLE", "int64")]}, None, {}, "fp16", 0.1)

    assert (
        "only nothing" in audit.problems[0].fact or "has no floating-point layers" in audit.problems[0].fact
    )


def test_fused_layers_are_read_from_the_builders_text():
    fused = [{"name": "f", "type": "Myelin", "inputs": "x (Float[1,4])", "outputs": "y (Half[1,4])"}]

    assert audit_engine({"layers": []}, fused, {}, "fp32", 0.1).engine_layers == {"float16": 1}


def parsed(*layers):
    """Layers as TensorRT's parser makes them: (name, type, inputs, output's type), the output named as the layer."""
    return {
        "layers": [
            {"name": name, "type": kind, "inputs": list(inputs), "outputs": [{"name": name, "dtype": dtype}]}
            for name, kind, inputs, dtype in layers
        ]
    }


ACTIVATION = (("q", "QUANTIZE", ["x", "s"], "int8"), ("d", "DEQUANTIZE", ["q", "s"], "float16"))
WEIGHT = (
    ("w", "CONSTANT", [], "int8"),
    ("wd", "DEQUANTIZE", ["w", "s"], "float16"),
    ("wt", "SHUFFLE", ["wd"], "float16"),
)


@pytest.mark.parametrize(
    ("layers", "asked", "counted", "passes"),
    [
        ([*ACTIVATION, *WEIGHT, ("m", "MATRIX_MULTIPLY", ["d", "wt"], "float16")], "int8", {"int8": 1}, True),
        ([*WEIGHT, ("m", "MATRIX_MULTIPLY", ["x", "wt"], "float16")], "int8", {"int8 weights": 1}, False),
        ([("c", "CONVOLUTION", ["x"], "float16")], "int8", {"float16": 1}, False),
        (
            [
                ("w", "CONSTANT", [], "int4"),
                ("wd", "DEQUANTIZE", ["w", "s"], "float16"),
                ("m", "MATRIX_MULTIPLY", ["x", "wd"], "float16"),
            ],
            "int4",
            {"int4 weights": 1},
            True,
        ),
    ],
    ids=["both operands", "weights alone", "float", "int4"],
)
def test_products_count_by_what_their_operands_are_dequantized_from(layers, asked, counted, passes):
    audit = audit_engine(parsed(*layers), None, {"weight_elements": {asked: 9}}, asked, 0.5)

    assert audit.products == counted
    assert (not audit.problems) == passes


def test_an_int8_variant_without_scales_is_an_error_with_the_reasons():
    network = parsed(("c", "CONVOLUTION", ["x"], "float16"), ("m", "MATRIX_MULTIPLY", ["c"], "float16"))
    why_not = {
        "c": "the calibration has no scale for 'x'",
        "m": "kept by '/head/*'",
    }

    audit = audit_engine(network, None, {"weight_elements": {"float16": 90}}, "int8", 0.1, why_not)

    (problem,) = audit.problems
    assert problem.fact == (
        "precision 'int8' was asked for, but the engine has only 0.0% of its products and 0.0% of its weights in it "
        "(at least 10.0% must be)"
    )
    assert "products: 2 float16" in problem.remedy
    assert "1 node stayed wider because the calibration has no scale for 'x': 'c'" in problem.remedy
    assert "1 node stayed wider because kept by '/head/*': 'm'" in problem.remedy


@pytest.mark.parametrize(
    ("precision", "weights"),
    [
        ("int8", "int8"),
        ("fp8", "float8e4m3fn"),
        ("int4", "int4"),
        ("fp4", "float4e2m1"),
        ("nvfp4", "float4e2m1"),
        ("mxfp8", "float8e4m3fn"),
    ],
)
def test_quantized_weights_count_by_their_type(precision, weights):
    text = "g (float[4,64] x) => (float[4,8] y) { y = MatMul(x, w) }"
    found = find_precision(precision)
    proto = ir.to_proto(model_of(text, opset=21, w=np.ones((64, 8), np.float32)))
    found.prepare(proto)
    model = ir.from_proto(proto)
    found.rewrite(model, found.plan_types(model, choices=Choices(amax={"x": 1.0})))

    audit = typed_audit(model).to_json()

    assert audit["weight_elements"][weights] >= 512
    assert audit["weight_bytes"][weights] >= (256 if weights in ("int4", "float4e2m1") else 512)
    assert audit["nodes"] == {"float16": 1}
