"""Forms of operators that TensorRT never builds are told by name, with the value that is too much and a remedy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.problem_codes import Code
from trtpipe.proofs.model import view_model
from trtpipe.proofs.refused_forms import refused_forms
from trtpipe.proofs.rtx_operators import operator_refusals
from trtpipe.spec.pipeline import TransformSpec


def model(*nodes, opset=18, constants=None, inputs=("x",)):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs]
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "g", ends, out, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def told(proto, outputs=()):
    view = view_model(proto, TransformSpec(outputs=tuple(outputs)) if outputs else None)
    return refused_forms(view.proto, view.live_nodes(), view.inputs)


def resize(**attributes):
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], "up", **attributes)
    return model(node, constants={"s": np.float32([1, 1, 2, 2])})


def top_k(k, opset=18):
    return model(
        helper.make_node("TopK", ["x", "k"], ["y", "i"], "top"), constants={"k": np.int64([k])}, opset=opset
    )


def scatter(operator, reduction):
    node = helper.make_node(operator, ["x", "i", "u"], ["y"], "sc", reduction=reduction)
    return model(node, inputs=("x", "u"), constants={"i": np.int64([[0]])})


def normalize(opset, outputs=("y",), **attributes):
    node = helper.make_node("BatchNormalization", ["x", *"sbmv"], list(outputs), "bn", **attributes)
    return model(node, opset=opset, constants=dict.fromkeys("sbmv", np.ones(3, np.float32)))


def drop(training, ratio=0.5, opset=13):
    constants = {"r": np.float32(ratio), "t": np.array(training)}
    return model(
        helper.make_node("Dropout", ["x", "r", "t"], ["y"], "drop"), opset=opset, constants=constants
    )


@pytest.mark.parametrize(
    ("proto", "fact"),
    [
        (top_k(3841), "node 'top' (TopK): k is 3841, and TensorRT's builder takes 3840 at most"),
        (
            resize(antialias=1, mode="linear"),
            "node 'up' (Resize): antialias is 1, which is written out where sizes are fixed only; TensorRT's parser "
            "takes 0",
        ),
        (
            resize(keep_aspect_ratio_policy="not_larger"),
            "node 'up' (Resize): keep_aspect_ratio_policy is not_larger, and TensorRT's parser accepts stretch only",
        ),
        (
            resize(coordinate_transformation_mode="tf_crop_and_resize"),
            "node 'up' (Resize): coordinate_transformation_mode is tf_crop_and_resize; TensorRT's parser takes "
            "align_corners, asymmetric, half_pixel, pytorch_half_pixel, tf_half_pixel_for_nn",
        ),
        (
            scatter("ScatterND", "add"),
            "node 'sc' (ScatterND): reduction is add, which is written out for constant indices or a small fixed size "
            "only; TensorRT's parser takes none",
        ),
    ],
)
def test_a_form_that_is_never_built_is_one_problem(proto: onnx.ModelProto, fact: str) -> None:
    (problem,) = told(proto)
    assert (problem.code, problem.fact) == (Code.OPERATOR_NOT_BUILT, f"TensorRT does not build {fact}")
    assert "transform.outputs" in problem.remedy


@pytest.mark.parametrize(
    "proto",
    [top_k(3840), resize(antialias=0), resize(mode="cubic"), scatter("ScatterND", "none"), normalize(15),
     normalize(15, training_mode=0), normalize(9), drop(training=False), drop(training=True, ratio=0.0)],
)  # fmt: skip
def test_what_is_built_is_not_refused(proto: onnx.ModelProto) -> None:
    assert told(proto) == []


def test_the_same_form_of_many_nodes_is_one_problem() -> None:
    nodes = [helper.make_node("TopK", ["x", "k"], [f"v{n}", f"i{n}"], f"top{n}") for n in range(7)]
    nodes.append(helper.make_node("Sum", [f"v{n}" for n in range(7)], ["y"], "sum"))
    (problem,) = told(model(*nodes, constants={"k": np.int64([4000])}))
    assert "nodes 'top0' (TopK), 'top1' (TopK)" in problem.fact and "and 2 more" in problem.fact


@pytest.mark.parametrize(
    "proto",
    [
        normalize(15, training_mode=1),
        normalize(15, ("y", "rm", "rv"), training_mode=1),
        normalize(9, ("y", "m1", "v1", "m2", "v2")),
    ],
    ids=["opset 15", "with running statistics", "opset 9 says so by its outputs"],
)
def test_a_batch_normalization_in_training_is_refused(proto: onnx.ModelProto) -> None:
    (problem,) = told(proto)
    assert problem.code == Code.TRAINING_MODE
    assert problem.fact == (
        "the model is in training mode: node 'bn' (BatchNormalization), which would normalize by the batch and not by "
        "what was learned"
    )
    assert "model.eval()" in problem.remedy


def test_a_dropout_in_training_is_refused() -> None:
    (problem,) = told(drop(training=True))
    assert problem.code == Code.TRAINING_MODE and "'drop' (Dropout)" in problem.fact


def test_what_is_cut_off_is_not_refused() -> None:
    relu = helper.make_node("Relu", ["x"], ["r"], "relu")
    top = helper.make_node("TopK", ["r", "k"], ["y", "i"], "top")
    assert told(model(relu, top, constants={"k": np.int64([5000])}), outputs=["r"]) == []


def fixed(proto, *dims):
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, dims))
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        fixed(resize(antialias=1, mode="linear"), 1, 3, 8, 8),
        fixed(resize(antialias=1, mode="cubic"), "n", 3, 8, 8),
        fixed(resize(coordinate_transformation_mode="half_pixel_symmetric", mode="linear"), "n", 3, 8, 8),
        fixed(scatter("ScatterND", "add"), 4),
        fixed(scatter("ScatterElements", "max"), 4, 4),
    ],
)
def test_a_form_that_importing_writes_out_is_not_refused(proto: onnx.ModelProto) -> None:
    assert told(proto) == []


def test_shapes_that_the_spec_gives_are_those_that_count() -> None:
    proto = fixed(resize(antialias=1, mode="linear"), "n", 3, "h", "w")
    view = view_model(proto, TransformSpec(set_shapes={"x": (-1, 3, 8, 8)}))
    assert [problem.code for problem in told(proto)] == [Code.OPERATOR_NOT_BUILT]
    assert refused_forms(view.proto, view.live_nodes(), view.inputs) == []


def test_a_reduction_of_any_indices_and_any_size_is_refused_by_name() -> None:
    for operator in ("ScatterND", "ScatterElements"):
        node = helper.make_node(operator, ["x", "i", "u"], ["y"], "sc", reduction="add")
        (problem,) = told(model(node, inputs=("x", "i", "u")))
        assert problem.fact.startswith(f"TensorRT does not build node 'sc' ({operator}): reduction is add")


def test_an_opset_that_cannot_be_raised_is_told() -> None:
    nodes = [
        helper.make_node("Strange", ["x"], ["s"], "odd", domain="d"),
        helper.make_node("Add", ["s", "b"], ["y"], "sum", axis=1, broadcast=1),
    ]
    (problem,) = told(model(*nodes, opset=6, constants={"b": np.ones(3, np.float32)}))
    assert (problem.code, problem.severity) == (Code.OPERATOR_NOT_BUILT, "error")
    assert problem.fact.startswith("the model is of opset 6 and cannot be converted")


@pytest.mark.parametrize(
    ("operator", "inputs", "remedy"),
    [
        ("DynamicQuantizeLinear", ["x"], "give the float model, and have a variant of precision int8 quantize it"),
        ("MatMulInteger", ["x", "x"], "give the float model, and have a variant of precision int8 quantize it"),
        ("Det", ["x"], "cut the graph before it with transform.outputs and do this step outside the engine"),
        ("NonZero", ["x"], "cut the graph before it with transform.outputs and do this step outside the engine, or use "
                           "the flavour tensorrt"),
    ],
)  # fmt: skip
def test_a_remedy_does_not_send_to_a_flavour_that_lacks_the_same(
    operator: str, inputs: list[str], remedy: str
) -> None:
    (problem,) = operator_refusals([helper.make_node(operator, inputs, ["y"], "n")], "1.7")
    assert problem.remedy in (remedy, f"{remedy}, or one with Q/DQ in int8")
