"""bf16: like fp16 without its ranges, on models raised to the opset in which ONNX allows it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.precisions.precision_graphs import model_of, ops, rewritten, weight_types
from trtpipe.canonical.opsets import opset_of
from trtpipe.precisions import find_precision
from trtpipe.problem_codes import Code

CONV = "g (float[1,4,8,8] x) => (float[1,4,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w)  y = HardSwish(a) }"
W = np.full((4, 4, 3, 3), 0.5, np.float32)


def raised(model: ir.Model) -> ir.Model:
    found = find_precision("bf16")
    assert found is not None
    proto = ir.to_proto(model)
    found.prepare(proto)
    return ir.from_proto(proto)


def test_a_convolution_computes_in_bfloat16_once_the_opset_allows_it():
    proto, _ = rewritten(raised(model_of(CONV, opset=17, w=W)), "bf16")

    assert opset_of(proto) == 22
    assert ops(proto) == [
        "Cast:BFLOAT16",
        "Conv",
        "Cast:FLOAT",
        "HardSwish",
    ]  # which TensorRT has in no bfloat16
    assert weight_types(proto) == {"w": "BFLOAT16"}


def test_a_model_of_a_later_opset_keeps_it():
    proto, _ = rewritten(raised(model_of(CONV, opset=23, w=W)), "bf16")

    assert opset_of(proto) == 23


def test_weights_beyond_half_precision_are_no_reason_to_stay_in_float32():
    text = "g (float[1,4] x) => (float[1,4] y) { y = MatMul(x, w) }"
    huge = np.full((4, 4), 1e30, np.float32)

    proto, report = rewritten(model_of(text, opset=22, w=huge), "bf16")

    assert ops(proto) == ["Cast:BFLOAT16", "MatMul", "Cast:FLOAT"]
    assert report.warnings == ()


def test_kept_nodes_compute_in_float32():
    text = "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  b = Softmax(a)  y = MatMul(b, w) }"

    proto, _ = rewritten(model_of(text, opset=22, w=np.eye(4, dtype=np.float32)), "bf16", fp32=["op:Softmax"])

    assert ops(proto)[1:4] == ["MatMul", "Cast:FLOAT", "Softmax"]


def test_twice_is_once():
    once, _ = rewritten(raised(model_of(CONV, opset=17, w=W)), "bf16")

    twice, _ = rewritten(ir.from_proto(once), "bf16")

    assert twice.SerializeToString(deterministic=True) == once.SerializeToString(deterministic=True)


def test_half_precision_stays_where_the_source_has_it():
    text = "g (float16[1,4] x) => (float16[1,4] y) { a = MatMul(x, w)  y = Softmax(a) }"

    proto, _ = rewritten(model_of(text, opset=22, w=np.eye(4, dtype=np.float16)), "bf16")

    assert weight_types(proto) == {"w": onnx.TensorProto.DataType.Name(onnx.TensorProto.FLOAT16)}


@pytest.mark.parametrize(
    ("glob", "told"), [("op:HardSwish", 1), ("HardSwish_1", 1), ("*", 0), ("op:Hard*", 0)]
)
def test_a_glob_that_names_what_tensorrt_has_not_in_bfloat16_is_refused_and_a_wish_is_not(glob, told):
    model = model_of("g (float[4] x) => (float[4] y) { r = Relu(x)  y = HardSwish(r) }", opset=22)
    plan = find_precision("bf16").plan_types(model, {"bf16": [glob]}, ("keep",))

    assert plan.nodes["HardSwish_1"].dtype == "float32"
    assert [(problem.code, problem.path) for problem in plan.problems] == [
        (Code.CANNOT_KEEP, ("keep", "bf16", 0))
    ] * told
