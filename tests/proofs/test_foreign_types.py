"""Strings, sequences, maps and optionals: one problem that names them, and outputs that do without."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.problem_codes import Code
from trtpipe.proofs.foreign_types import foreign_values, without_maps
from trtpipe.proofs.model import view_model
from trtpipe.spec.pipeline import TransformSpec

FLOAT, STRING = TensorProto.FLOAT, TensorProto.STRING


def tensor(name, dims=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, dims)


def model(nodes, outputs, constants=(), inputs=None):
    graph = helper.make_graph(nodes, "g", inputs or [tensor("x", [2, 8])], outputs, list(constants))
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


RELU = helper.make_node("Relu", ["x"], ["r"], "relu")
NEG = helper.make_node("Neg", ["r"], ["n"], "neg")


def classes(*outputs):
    nodes = [
        RELU,
        helper.make_node("ArgMax", ["r"], ["i"], "best", axis=1, keepdims=0),
        helper.make_node("Gather", ["names", "i"], ["label"], "look up"),
    ]
    names = helper.make_tensor("names", STRING, [3], [b"cat", b"dog", b"cow"])
    return model(nodes, [*outputs, tensor("label", None, STRING)], [names])


def sequence(*more):
    four, zero = (numpy_helper.from_array(np.int64(value), name) for name, value in (("k", 4), ("z", 0)))
    nodes = [
        RELU,
        NEG,
        helper.make_node("SplitToSequence", ["r", "k"], ["s"], "split", axis=1),
        helper.make_node("SequenceAt", ["s", "z"], ["y"], "at"),
    ]
    return model(nodes, [tensor("y"), tensor("n")], [four, zero])


def optional():
    nodes = [
        RELU,
        NEG,
        helper.make_node("Optional", ["r"], ["o"], "wrap"),
        helper.make_node("OptionalGetElement", ["o"], ["y"], "open"),
    ]
    return model(nodes, [tensor("y", [2, 8]), tensor("n", [2, 8])])


def maps():
    node = helper.make_node(
        "ZipMap", ["r"], ["p"], "zip", domain="ai.onnx.ml", classlabels_strings=list("abcdefgh")
    )
    row = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, None))
    return model(
        [RELU, node], [helper.make_value_info("p", helper.make_sequence_type_proto(row)), tensor("r")]
    )


def text():
    nodes = [helper.make_node("StringNormalizer", ["t"], ["u"], "lower"), RELU]
    return model(
        nodes,
        [tensor("u", None, STRING), tensor("r")],
        inputs=[tensor("t", [3], STRING), tensor("x", [2, 8])],
    )


@pytest.mark.parametrize(
    ("proto", "fact", "outputs"),
    [
        (classes(tensor("r")), "no strings: node 'look up' (Gather) makes 'label', for the output 'label'", ["r"]),
        (classes(), "no strings: node 'look up' (Gather) makes 'label', for the output 'label'", ["i"]),
        (
            sequence(),
            "no sequences: node 'split' (SplitToSequence) makes 's', node 'at' (SequenceAt) reads 's', "
            "for the output 'y'",
            ["n"],
        ),
        (
            optional(),
            "no optionals: node 'wrap' (Optional) makes 'o', node 'open' (OptionalGetElement) reads 'o', "
            "for the output 'y'",
            ["n"],
        ),
        (maps(), "no sequences: node 'zip' (ZipMap) makes 'p', for the output 'p'", ["r"]),
        (text(), "no strings: node 'lower' (StringNormalizer) makes 'u', for the output 'u'", ["r"]),
    ],
    ids=["table of names", "nothing but names", "sequence inside", "optional", "map", "text as input"],
)  # fmt: skip
def test_one_problem_names_what_is_foreign_and_the_outputs_without_it(
    proto: onnx.ModelProto, fact: str, outputs: list[str]
) -> None:
    found = foreign_values(view_model(proto))

    assert found is not None
    assert (found.problem.code, found.problem.fact) == (Code.FOREIGN_TYPE, f"TensorRT has {fact}")
    assert found.problem.remedy == (
        f"leave that step to the caller of the engine: transform: {{outputs: [{', '.join(outputs)}]}}"
    )
    assert (
        foreign_values(view_model(proto, TransformSpec(outputs=tuple(outputs)))) is None
    )  # the remedy cures it


def test_a_model_of_text_alone_has_no_outputs_to_cut_at() -> None:
    node = helper.make_node("StringNormalizer", ["t"], ["u"], "lower")
    proto = model([node], [tensor("u", None, STRING)], inputs=[tensor("t", [3], STRING)])
    found = foreign_values(view_model(proto))
    assert found is not None and found.usable == ()
    assert found.problem.remedy == "export the part of the model that computes on numbers"


def test_strings_that_folding_removes_are_no_problem() -> None:
    nodes = [
        helper.make_node("Constant", [], ["a"], value_string="one"),
        helper.make_node("Equal", ["a", "a"], ["same"], "compare"),
        RELU,
    ]
    assert foreign_values(view_model(model(nodes, [tensor("r")]))) is None


def test_types_that_hold_maps_are_forgotten() -> None:
    proto = maps()
    without_maps(proto)
    assert [value.type.WhichOneof("value") for value in proto.graph.output] == [None, "tensor_type"]
