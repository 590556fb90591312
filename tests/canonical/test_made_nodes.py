"""A message about a node names the user's: that of a cast, of a quantizer and of what was written out included."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.canonical.made_nodes import Caller, called, is_made
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.onnx import OnnxOptions, frontend
from trtpipe.precisions import find_precision

FLOAT = TensorProto.FLOAT
PRECISIONS = ["fp16", "bf16", "int8", "fp8", "int4", "fp4", "mxfp8", "nvfp4"]


def model(nodes, outputs, weights=(), opset=17, dims=(4, 64)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, dims)],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def node(op, inputs, outputs, name, **attributes):
    return helper.make_node(op, inputs, outputs, name=name, **attributes)


def classifier():
    weight = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    nodes = [
        node("MatMul", ["x", "w"], ["features"], "/body/matmul"),
        node("Relu", ["features"], ["hidden"], "/body/relu"),
        node("Softmax", ["hidden"], ["y"], "/head/softmax"),
    ]
    return model(nodes, ["y"], [("w", weight)])


def typed(precision: str, source: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx_ir.from_proto(source)
    found = find_precision(precision)
    found.rewrite(made, found.plan_types(made))
    return onnx_ir.to_proto(made)


def names_of(source: onnx.ModelProto) -> set[str]:
    """What a user may call something of the model."""
    graph = source.graph
    tensors = [name for one in graph.node for name in (*one.input, *one.output)]
    return {*(one.name for one in graph.node), *tensors, *(one.name for one in graph.input)}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_whatever_a_precision_puts_in_is_told_by_names_of_the_source(precision):
    source = classifier()
    nodes = typed(precision, source).graph.node
    known = names_of(source)

    words = [called(one.name, one.op_type, nodes) for one in nodes]

    assert len(nodes) > len(source.graph.node), "the precision puts nodes in"
    assert {name for text in words for name in re.findall(r"'([^']*)'", text)} <= known, words


def test_the_words_say_what_was_put_in_and_for_which_node():
    nodes = typed("int8", classifier()).graph.node
    words = {one.name: called(one.name, one.op_type, nodes) for one in nodes}

    assert words["x/quantize"] == "the quantization of 'x' before node '/body/matmul'"
    assert words["w/dequantize"] == "the dequantization of 'w' before node '/body/matmul'"
    assert words["cast_hidden_fp32"] == "the cast of 'hidden' before node '/head/softmax'"
    assert words["/body/matmul"] == "node '/body/matmul' (MatMul)"


def test_a_cast_of_an_output_is_told_by_the_node_before_it():
    source = model([node("Relu", ["x"], ["y"], "/only/relu")], ["y"])
    nodes = typed("fp16", source).graph.node

    assert called(nodes[-1].name, "Cast", nodes) == "the cast of 'y' after node '/only/relu'"


def test_an_operator_that_was_written_out_is_told_by_its_own_name(tmp_path: Path):
    ones = np.ones(2, np.float32)
    norm = node("GroupNormalization", ["x", "s", "b"], ["y"], "/stem/norm", num_groups=2)
    onnx.save(
        model([norm], ["y"], [("s", ones), ("b", ones)], opset=18, dims=(1, 2, 4)), tmp_path / "net.onnx"
    )
    files = ModelFiles(tmp_path / "net.onnx", {}, tmp_path)
    lower_model(frontend, files, OnnxOptions(), tmp_path / "out.onnx")
    nodes = onnx.load(tmp_path / "out.onnx").graph.node

    words = {called(one.name, one.op_type, nodes) for one in nodes}

    assert len(nodes) > 1, "it is written out"
    assert all("'/stem/norm'" in text for text in words), words


def test_nodes_of_the_users_that_look_alike_stay_theirs():
    nodes = [
        node("Cast", ["x"], ["a"], "cast_me", to=FLOAT),
        node("QuantizeLinear", ["a", "s"], ["q"], "/quant"),
        node("Relu", ["a"], ["b"], "/stem/Relu"),
    ]

    assert not any(map(is_made, nodes))
    assert [called(one.name, one.op_type, nodes) for one in nodes] == [
        "node 'cast_me' (Cast)",
        "node '/quant' (QuantizeLinear)",
        "node '/stem/Relu' (Relu)",
    ]


def test_a_node_that_the_model_does_not_have_keeps_its_name():
    assert called("/elsewhere", "Conv", []) == "node '/elsewhere' (Conv)"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_node_is_called_by_name_as_by_name_and_operator(precision):
    nodes = typed(precision, classifier()).graph.node
    caller = Caller(nodes)

    for one in nodes:
        assert caller(one.name) == called(one.name, one.op_type, nodes)


def test_a_name_of_no_node_stays():
    assert Caller([])("fused_1") == "node 'fused_1'"
