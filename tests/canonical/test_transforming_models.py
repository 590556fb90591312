"""Transforming: bound inputs decide branches, cuts and shapes do what they say, wrong names are told apart."""

import numpy as np
import pytest

from tests.canonical.onnx_text import canonical, operators, parse, run
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.errors import ModelError
from trtpipe.legalization.transforms import Transform, apply_transform

RATE = """g (float[n,4] x, int64 rate) => (float[n,4] y, float[n,4] z) {
    k = Constant<value_int = 16000>()  c = Equal(rate, k)
    y = If (c) <then_branch = t () => (float[a,b] o) { o = Relu(x) },
        else_branch = e () => (float[a,b] o) { o = Abs(x) }>
    h = Neg(x)  z = Abs(h) }"""


def transformed(text, tmp_path, **steps):
    model, _ = canonical(parse(text), tmp_path)
    with Evaluator(tmp_path) as evaluator:
        apply_transform(model, evaluator, Transform(**steps))
    return model


def problems(text, tmp_path, **steps):
    with pytest.raises(ModelError) as caught:
        transformed(text, tmp_path, **steps)
    return caught.value.problems


def test_a_bound_input_decides_its_branch(tmp_path):
    model = transformed(RATE, tmp_path, bind={"rate": 16000})
    assert [value.name for value in model.graph.input] == ["x"]
    assert sorted(operators(model)) == ["Abs", "Neg", "Relu"]
    x = np.array([[-1, 2, -3, 4]], np.float32)
    np.testing.assert_array_equal(run(model, {"x": x})[0], np.maximum(x, 0))


def test_a_cut_keeps_only_what_is_asked_for(tmp_path):
    model = transformed(RATE, tmp_path, outputs=["h"])
    assert operators(model) == ["Neg"]
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["h"]


def test_set_shapes_fixes_and_frees_dimensions(tmp_path):
    model = transformed(
        "g (float[n,4] x) => (float[n,4] y) { y = Relu(x) }", tmp_path, set_shapes={"x": [2, -1]}
    )
    (dims,) = [v.type.tensor_type.shape.dim for v in model.graph.input]
    assert (dims[0].dim_value, dims[1].dim_param) == (2, "x_1")
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_simplify_merges_what_is_computed_twice(tmp_path):
    text = """g (float[n,4] x) => (float[n,4] y) {
        a = Relu(x)  b = Relu(x)  c = Cast<to = 1>(b)  d = Transpose<perm = [0, 1]>(c)  y = Add(a, d) }"""
    assert operators(transformed(text, tmp_path, simplify=True)) == ["Relu", "Add"]
    assert len(operators(transformed(text, tmp_path))) == 5


def test_every_wrong_name_is_told_with_the_nearest(tmp_path):
    found = problems(RATE, tmp_path, bind={"rat": 1}, outputs=["hh"], set_shapes={"X1": [1]})
    assert [problem.path for problem in found] == [("bind", "rat"), ("set_shapes", "X1"), ("outputs", 0)]
    assert found[0].fact == "the model has no input 'rat'"
    assert found[0].remedy == "did you mean 'rate'"
    assert "'x'" in found[1].remedy
    assert "'h'" in found[2].remedy


@pytest.mark.parametrize(
    ("value", "says"),
    [(1.5, "does not fit int64"), ("fast", "not a number"), ([1, 2], "has dims"), ([[1], 2], "")],
)
def test_a_value_that_does_not_fit_is_refused(tmp_path, value, says):
    (problem,) = problems(RATE, tmp_path, bind={"rate": value})
    assert "input 'rate' cannot be bound" in problem.fact
    assert says in problem.fact


def test_a_shape_of_another_rank_is_refused(tmp_path):
    (problem,) = problems(RATE, tmp_path, set_shapes={"x": [1]})
    assert problem.fact == "input 'x' has 2 dims, but 1 are set"
