"""fp32: a float32 model is left as it is; every other becomes one, its inputs and outputs untouched."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests.precisions.precision_graphs import model_of, ops, rewritten, weight_types

W = np.full((4, 4), 0.5, np.float32)


def test_a_float32_model_comes_out_byte_for_byte():
    model = model_of("g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  y = Softmax(a) }", w=W)
    before = ir.to_proto(model).SerializeToString()

    proto, report = rewritten(model, "fp32")

    assert proto.SerializeToString() == before
    assert not report.casts


def test_a_half_model_computes_in_float32_and_keeps_its_half_ends():
    model = model_of(
        "g (float16[1,4] x) => (float16[1,4] y) { a = MatMul(x, w)  y = Softmax(a) }", w=W.astype(np.float16)
    )

    proto, _ = rewritten(model, "fp32")

    assert ops(proto) == ["Cast:FLOAT", "MatMul", "Softmax", "Cast:FLOAT16"]
    assert weight_types(proto) == {"w": "FLOAT"}


def test_float32_of_half_of_float32_computes_as_it_did():
    text = "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  b = Softmax(a)  y = MatMul(b, w) }"
    half, _ = rewritten(model_of(text, w=W), fp32=["op:Softmax"])

    proto, _ = rewritten(ir.from_proto(half), "fp32")

    assert ops(proto)[:3] == ["MatMul", "Softmax", "MatMul"]
    assert set(weight_types(proto).values()) == {"FLOAT"}
