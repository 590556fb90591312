"""The way back: ONNX operators as declared layers, lowered again, give what they gave; the rest is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from tests.layers.there_and_back import bound, canonical, declared, lowered, run
from trtpipe.errors import ModelError
from trtpipe.layers.from_onnx.model import declare, forms

MACROS = {"IMAGE": "float[N,6,8,8] x", "ROWS": "float[N,5,6] x"}


def models():
    found = {}
    for line in Path(__file__).with_name("operator_models.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, text = line.split(": ", 1)
            found[name] = re.sub("IMAGE|ROWS", lambda macro: MACROS[macro[0]], text)
    return found


MODELS = models()

NEWER = {"Gelu": 20, "GroupNormalization": 21, "RMSNormalization": 23}
"""Cases of operators that an opset beyond 18 brought."""


def parsed(name):
    text = MODELS[name]
    opset = NEWER.get(name, 18)
    signature, rest = re.fullmatch(r"\((.*?)\) => \((.*)", text, re.DOTALL).groups()
    outputs, rest = rest.split(")", 1)
    typed = ", ".join(f"float[?] {one.strip()}" for one in outputs.split(","))
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : {opset}]> g ({signature}) => ({typed}) {rest}'
    )
    for output in proto.graph.output:
        output.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(proto)
    for output, known in zip(proto.graph.output, inferred.graph.output, strict=True):
        told = known.type.WhichOneof("value") is not None
        output.type.CopyFrom(known.type if told else proto.graph.input[0].type)
    return proto


def values_of(proto, rng, batch):
    made = {}
    for value in proto.graph.input:
        dims = [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        random = rng.integers(0, 4, dims) if dtype.kind == "i" else rng.standard_normal(dims)
        made[value.name] = np.asarray(random).astype(dtype)
    return made


@pytest.mark.parametrize("name", MODELS)
def test_an_operator_comes_back_as_it_was(tmp_path, name):
    proto = parsed(name)
    values = values_of(proto, np.random.default_rng(3), batch=2)
    model = canonical(bound(proto, values), tmp_path / "model.onnx")

    made, options = declared(model, tmp_path)
    again = lowered(options, tmp_path)

    wanted, found = (run(tmp_path / one, values) for one in ("model.onnx", "lowered.onnx"))
    assert list(wanted) == list(found)
    for output, value in wanted.items():
        assert found[output].dtype == value.dtype
        np.testing.assert_allclose(found[output], value, rtol=1e-5, atol=1e-6)
    assert {value.name for value in again.graph.input} == {value.name for value in model.graph.input}
    assert declare(model).layers == made.layers


def test_every_form_is_among_the_cases():
    said = " ".join(MODELS.values())

    assert [name for name in forms() if not re.search(rf"\b{name}\b", said)] == ["Constant"]


REFUSED = {
    "a dilated window": (
        "(float[1,2,9,9] x) => (float[?] y) { y = MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x) }",
        "node 'MaxPool_0' (MaxPool) has no declared layer: its window is dilated",
    ),
    "an operator without a form": (
        "(float[4,4] x) => (float[?] y) { y = Det(x) }",
        "node 'Det_0' (Det) has no declared layer",
    ),
    "an input type": (
        "(double[4,4] x) => (double[?] y) { y = Abs(x) }",
        "input 'x' is float64, which a declared input cannot be",
    ),
}


@pytest.mark.parametrize(("text", "fact"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_form_is_refused_by_name(tmp_path, text, fact):
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> g {text}')

    with pytest.raises(ModelError) as caught:
        declare(canonical(proto, tmp_path / "model.onnx"))

    assert [problem.fact for problem in caught.value.problems] == [fact]


def test_every_node_without_a_form_is_named_in_one_error(tmp_path):
    text = (
        "(float[2,4,4] x) => (float[?] y) { a = Det(x) b = Hardmax(x) c = Relu(b) d = Det(c) y = Add(a, d) }"
    )
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> g {text}')

    with pytest.raises(ModelError) as caught:
        declare(canonical(proto, tmp_path / "model.onnx"))

    named = [problem.fact.split(" has no")[0] for problem in caught.value.problems]
    assert named == ["node 'Det_0' (Det)", "node 'Hardmax_0' (Hardmax)", "node 'Det_1' (Det)"]


def test_small_constants_are_written_out_and_read_back_exactly(tmp_path):
    text = "(float[N,3] x) => (float[?] y) <float[3] a = {0.1, -3.3333333, 1e-30}> { y = Mul(x, a) }"
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> g {text}')
    model = canonical(proto, tmp_path / "model.onnx")

    made, options = declared(model, tmp_path)
    again = lowered(options, tmp_path)

    assert made.layers[0]["inputs"][1] == [0.1, -3.3333333, 1e-30]
    assert not made.weights
    held = onnx.numpy_helper.to_array(again.graph.initializer[0])
    assert np.array_equal(held, np.array([0.1, -3.3333333, 1e-30], np.float32))


def test_names_of_dims_that_a_spec_cannot_have_stay_equal(tmp_path):
    model = canonical(parsed("MatMul"), tmp_path / "model.onnx")
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "2*s39"

    shapes = [one["shape"][0] for one in declare(model).inputs.values()]

    assert shapes == ["_2_s39", "_2_s39"]
