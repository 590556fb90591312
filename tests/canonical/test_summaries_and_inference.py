"""Summaries survive JSON; inference at a corner names the node that does not take it."""

import json

import numpy as np
import onnx

from tests.canonical.onnx_text import parse
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.inference import infer_at
from trtpipe.canonical.reader import read_skeleton
from trtpipe.canonical.summary import ModelSummary, TensorInfo, summarize

TEXT = """g (float[n,3] x, int64[2] s) => (float[p,q] y) <float[3,4] w = {1.,2.,3.,4.,5.,6.,7.,8.,9.,10.,11.,12.}> {
    m = MatMul(x, w)  y = Reshape(m, s) }"""


def test_a_summary_says_what_the_model_is_and_survives_json():
    summary = summarize(parse(TEXT))
    assert summary.inputs == (TensorInfo("x", "float32", ("n", 3)), TensorInfo("s", "int64", (2,)))
    assert summary.inputs[0].dynamic_axes == (0,)
    assert summary.operators == (("MatMul", 1), ("Reshape", 1))
    assert (summary.parameters, summary.weight_bytes, summary.opset) == (12, 48, 17)
    assert ModelSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_negative_and_missing_sizes_are_unknown():
    model = parse(TEXT)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert summarize(model).inputs[0].dims == (None, 3)


def test_shapes_are_inferred_with_the_values_of_shape_inputs():
    inferred = infer_at(parse(TEXT), {"x": (6, 3)}, {"s": [8, 3]})
    assert inferred.problems == ()
    assert inferred.shape("m") == (6, 4)
    assert inferred.shape("y") == (8, 3)


def test_an_impossible_corner_names_the_node():
    model = parse(TEXT)
    model.graph.node[0].name = "/head/MatMul"
    (problem, *_) = infer_at(model, {"x": (6, 5)}).problems
    assert problem.fact.startswith("node '/head/MatMul' (MatMul) does not accept these shapes: ")


def test_declared_shapes_of_another_batch_do_not_get_in_the_way():
    model = parse("g (float[n,3] x) => (float[1,3] y) { h = Relu(x)  y = Relu(h) }")
    assert infer_at(model, {"x": (7, 3)}).shape("y") == (7, 3)
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_large_constant_that_is_an_output_keeps_its_shape(tmp_path):
    values = onnx.numpy_helper.from_array(np.ones((1, 2, 600), np.float32), "values")
    model = parse("g (float[n,3] x) => (float[n,3] y, float[1,2,600] c, float[p,q,r] d) { y = Relu(x) }")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=values))
    model.graph.node.append(onnx.helper.make_node("Neg", ["c"], ["d"]))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())

    known = infer_values(read_skeleton(tmp_path / "model.onnx").proto)

    assert known["c"] == TensorInfo("c", "float32", (1, 2, 600))
    assert known["d"].dims == (1, 2, 600)


def test_a_node_of_which_onnx_infers_nothing_is_no_mistake():
    model = parse(
        "g (float[2,3] x) => (float[2,3] y) { c = Constant<value = float[1] {2}>()  y = Mul(c, x) }", opset=6
    )
    model.graph.node[1].attribute.append(onnx.helper.make_attribute("broadcast", 1))

    assert infer_at(model, {"x": (2, 3)}).problems == ()
