"""The audit: counts per type from both witnesses, and an error when fp16 came out as float32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from precision_graphs import model_of, rewritten

from trtpipe.precisions.audit import audit_engine
from trtpipe.precisions.audit.typed import typed_audit

W = np.full((4, 4), 0.5, np.float32)
TEXT = "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  b = Softmax(a)  y = MatMul(b, w) }"


def layer(kind, dtype):
    return {"name": kind, "type": kind, "outputs": [{"name": "t", "dtype": dtype, "shape": [1]}]}


def test_typed_audit_counts_nodes_weights_and_bytes():
    proto, _ = rewritten(model_of(TEXT, w=W), fp32=["op:Softmax"])

    audit = typed_audit(ir.from_proto(proto))

    assert audit["nodes"] == {"float16": 2, "float32": 1}
    assert audit["weight_bytes"] == {"float16": 32}
    assert audit["casts"] == 4
    assert audit["low_precision_share"] == {"nodes": pytest.approx(2 / 3), "weight_elements": 1.0}


def test_an_fp32_engine_for_an_fp16_variant_is_an_error_with_the_reasons():
    typed = typed_audit(model_of(TEXT, w=W))
    network = {"layers": [layer("MATRIX_MULTIPLY", "float32"), layer("SOFTMAX", "float32")]}
    why_not = {"MatMul_0": "kept by '*'", "MatMul_2": "kept by '*'"}

    audit = audit_engine(network, None, typed, "fp16", 0.1, why_not)

    (problem,) = audit.problems
    assert problem.fact.startswith(
        "precision 'fp16' was asked for, but the engine has only 0.0% of its layers and 0.0% of its weights in it"
    )
    assert "2 nodes stayed wider because kept by '*': 'MatMul_0', 'MatMul_2'" in problem.remedy


def test_an_fp16_engine_passes_and_casts_do_not_count():
    typed = typed_audit(ir.from_proto(rewritten(model_of(TEXT, w=W))[0]))
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
