"""`io: convert`: inputs and outputs in the type that the graph computes in, and no cast where they are."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.precisions.precision_graphs import model_of, ops
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.casts.overflow import Measured

TEXT = """g (float[1,4] x, float[1,4] z, int64[1] n) => (float[1,4] y, float[1,4] p) {
    a = MatMul(x, w) b = Add(a, z) y = Relu(b) p = Softmax(b)
}"""
W = np.eye(4, dtype=np.float32)


def typed(text, io, precision="fp16", measured=None, opset=22, refuse=False, **weights):
    found = find_precision(precision)
    model = model_of(text, opset=opset, **weights)
    plan = found.plan_types(model, path=("variants", "v", "keep"), choices=Choices(measured, refuse, io))
    if plan.problems:
        return plan
    found.rewrite(model, plan)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    return proto


def borders(proto):
    name = onnx.TensorProto.DataType.Name
    return {
        one.name: name(one.type.tensor_type.elem_type) for one in (*proto.graph.input, *proto.graph.output)
    }


@pytest.mark.parametrize(("precision", "low"), [("fp16", "FLOAT16"), ("bf16", "BFLOAT16")])
def test_no_cast_stands_at_a_converted_border(precision, low):
    proto = typed(TEXT, {"*": "convert"}, precision, w=W)

    assert borders(proto) == {"x": low, "z": low, "n": "INT64", "y": low, "p": low}
    assert ops(proto) == ["MatMul", "Add", "Cast:FLOAT", "Relu", "Softmax", f"Cast:{low}"]


def test_each_border_can_be_chosen():
    proto = typed(TEXT, {"*": "convert", "z": "keep", "p": "keep"}, w=W)

    assert borders(proto) == {"x": "FLOAT16", "z": "FLOAT", "n": "INT64", "y": "FLOAT16", "p": "FLOAT"}
    assert ops(proto) == ["Cast:FLOAT16", "MatMul", "Add", "Cast:FLOAT", "Relu", "Softmax"]


def test_a_half_model_gets_float32_borders_in_fp32():
    text = "g (float16[4] x) => (float16[4] y) { y = Exp(x) }"

    assert borders(typed(text, {"*": "convert"}, "fp32")) == {"x": "FLOAT", "y": "FLOAT"}


def test_the_source_s_own_cast_at_the_end_goes():
    text = "g (float16[4] x) => (float[4] y) { a = Exp(x)  y = Cast<to=1>(a) }"

    proto = typed(text, {"*": "convert"})

    assert ops(proto) == ["Exp"]
    assert borders(proto) == {"x": "FLOAT16", "y": "FLOAT16"}


def test_an_output_that_is_read_inside_too_is_converted_once():
    text = "g (float[4] x) => (float[4] y, float[4] z) { y = Exp(x)  z = Sin(y) }"

    assert ops(typed(text, {"*": "convert"})) == ["Exp", "Sin"]
    assert ops(typed(text, {"y": "convert"})) == ["Cast:FLOAT16", "Exp", "Sin", "Cast:FLOAT"]


def test_converting_twice_is_converting_once():
    once = typed(TEXT, {"*": "convert"}, w=W)
    model = ir.from_proto(once)
    half = find_precision("fp16")
    half.rewrite(model, half.plan_types(model, choices=Choices(io={"*": "convert"})))

    assert ir.to_proto(model).SerializeToString() == once.SerializeToString()


def test_what_half_does_not_hold_keeps_its_type():
    measured = Measured({"x": 1e5, "z": 1, "b": 1, "a": 1, "y": 1, "p": 1})

    proto = typed(TEXT, {"*": "convert"}, measured=measured, w=W)

    assert borders(proto)["x"] == "FLOAT"
    assert borders(proto)["z"] == "FLOAT16"


def test_or_is_refused():
    plan = typed(TEXT, {"*": "convert"}, measured=Measured({"x": 1e5}), refuse=True, w=W)

    assert plan.problems[-1].fact.startswith(
        "'x' reaches 100000 on the calibration set, float16 ends at 65504"
    )
    assert plan.problems[-1].remedy == "keep its type: io: {x: keep}"


@pytest.mark.parametrize(
    ("glob", "fact"),
    [("lgits", "no input or output is called 'lgits'"), ("n", "'n' is not a float tensor: its type stays")],
)
def test_a_glob_that_is_about_nothing_is_an_error(glob, fact):
    (problem,) = typed(TEXT, {glob: "convert"}, w=W).problems

    assert problem.fact == fact
    assert problem.path == ("variants", "v", "io", glob)
