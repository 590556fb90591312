"""TensorRT's refusals: whose limit it is, the user's node, then TensorRT's reason without places in its source."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from trtpipe.toolchains.engine_worker.refusals import builder_fact, parser_fact, plain_words, shown_log

SAID = {
    "Invalid Node - /deep/conv\nINetworkDefinition::addConvolutionNd: Error Code 3: API Usage Error (Parameter check "
    "failed, condition: (kernelSize).nbDims == 2 || (kernelSize).nbDims == 3.  In addConvolutionNd at "
    "/_src/optimizer/api/network.cpp:1327)": "Parameter check failed, condition: (kernelSize).nbDims == 2 || "
    "(kernelSize).nbDims == 3",
    '(dilations[i] == 1) && "This version of TensorRT does not support dilations other than 1."': "This version of "
    "TensorRT does not support dilations other than 1",
    'Assertion failed: convertOnnxDims(dims) && "Failed to convert ONNX dimensions."': "Failed to convert ONNX "
    "dimensions",
    "MyelinCheckException: cudnn_impl.cpp:294: CHECK(false) failed. Strided & Dilated Deconv are currently not "
    "supported": "Strided & Dilated Deconv are currently not supported",
    "axis must be constant": "axis must be constant",
}


@pytest.mark.parametrize(("said", "plain"), SAID.items(), ids=[plain[:30] for plain in SAID.values()])
def test_conditions_and_places_of_tensorrts_source_are_left_out(said, plain):
    assert plain_words(said) == plain


def test_much_text_is_shortened():
    assert len(plain_words("a reason " * 500)) < 400


def detail(**changes):
    return {"node": 1, "name": "cast_h_fp32", "op": "Cast", "reason": "no", "functions": [], **changes}


@pytest.fixture
def typed(tmp_path: Path) -> Path:
    """A half Relu before a float32 Softmax, with the cast that trtpipe puts between them."""
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], "/body/relu"),
        helper.make_node("Cast", ["h"], ["h_fp32"], "cast_h_fp32", to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["h_fp32"], ["y"], "/head/softmax"),
    ]
    ends = [[helper.make_tensor_value_info(name, kind, [2])] for name, kind in (("x", 10), ("y", 1))]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *ends)), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_the_parsers_refusal_names_the_users_node(typed):
    said = parser_fact(detail(node=2, name="/head/softmax", op="Softmax"), typed)

    assert said == "the parser of TensorRT refuses node '/head/softmax' (Softmax): no"


def test_a_node_of_trtpipes_is_told_by_the_users_node_that_it_serves(typed):
    said = parser_fact(detail(), typed)

    assert said == "the parser of TensorRT refuses the cast of 'h' before node '/head/softmax': no"


def test_a_refusal_without_a_node_says_that_the_model_is_refused(typed):
    assert parser_fact(detail(node=None, name=""), typed) == "the parser of TensorRT refuses the model: no"


def test_a_model_that_cannot_be_read_leaves_tensorrts_name(tmp_path):
    assert "'cast_h_fp32' (Cast)" in parser_fact(detail(), tmp_path / "none.onnx")


def test_what_the_builder_refuses_is_said_to_be_the_builders(typed):
    assert (
        builder_fact("Out of tactics", typed) == "the builder of TensorRT refuses the model: Out of tactics"
    )


def test_nodes_of_trtpipes_that_the_builder_names_are_explained(typed):
    said = "Could not find any implementation for node {ForeignNode[cast_h_fp32.../head/softmax]}."

    assert builder_fact(said, typed).endswith(
        "('cast_h_fp32' is the cast of 'h' before node '/head/softmax')"
    )


def test_nodes_of_the_users_that_the_builder_names_need_no_words(typed):
    said = "Could not find any implementation for node /head/softmax."

    assert builder_fact(said, typed).endswith("for node /head/softmax")


def test_what_the_builder_says_of_a_model_that_cannot_be_read_stays(tmp_path):
    assert builder_fact("no tactics for cast_h_fp32", tmp_path / "none.onnx").endswith("for cast_h_fp32")


def test_of_the_log_warnings_and_errors_are_shown():
    log = "[INFO] Input filename: model.onnx\n[WARNING] slow\n[ERROR] bad\ntraceback\n"

    assert shown_log(log) == "[WARNING] slow\n[ERROR] bad\ntraceback"
