"""Nodes that are lowered together: products with what follows, the rest by itself, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.errors import SpecError
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.casts.overflow import Measured
from trtpipe.precisions.groups.units import find_units
from trtpipe.spec.pipeline import ProfileInput

RNG = np.random.default_rng(0)
PROFILE = {"x": ProfileInput(min=(1, 4, 8, 8), opt=(2, 4, 8, 8), max=(4, 4, 8, 8))}


def save(
    path: Path, nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], output: str = "y"
) -> Path:
    tensors = [numpy_helper.from_array(RNG.normal(size=s).astype(np.float32), n) for n, s in weights.items()]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 8, 8])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path)
    return path


@pytest.fixture
def residual(tmp_path):
    """conv - relu - conv - add (x) - relu - softmax - reshape."""
    node = helper.make_node
    return save(
        tmp_path / "model.onnx",
        [
            node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
            node("Relu", ["c1"], ["r1"], name="relu1"),
            node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
            node("Add", ["c2", "x"], ["a"], name="add"),
            node("Relu", ["a"], ["r2"], name="relu2"),
            node("Exp", ["r2"], ["e"], name="exp"),
            node("Softmax", ["e"], ["s"], name="softmax", axis=1),
            node("Flatten", ["s"], ["y"], name="flatten"),
        ],
        {"w1": (4, 4, 3, 3), "b1": (4,), "w2": (4, 4, 3, 3)},
    )


def units(path, name, keep=None, **given):
    precision = find_precision(name)
    assert precision is not None
    return find_units(precision, path, keep=keep, choices=Choices(**given), profile=PROFILE)


def test_products_take_what_follows_and_other_functions_stand_alone(residual):
    found = units(residual, "int8")

    assert [unit.nodes for unit in found] == [("conv1", "relu1"), ("conv2", "add", "relu2"), ("exp",)]
    assert [unit.quantized for unit in found] == [("conv1",), ("conv2", "add"), ()]


def test_sizes_are_those_at_the_profiles_opt(residual):
    first, second, _ = units(residual, "int8")

    assert first.flops == 2 * (2 * 4 * 8 * 8) * (4 * 3 * 3)
    assert (first.weights, first.others) == (4 * 4 * 3 * 3, 4)
    assert (first.read, first.written) == (512, 512)
    assert (second.read, second.written) == (1024, 512)  # the shortcut is read as well


def test_where_the_rest_is_float32_only_what_is_quantized_can_be_lowered(residual):
    found = units(residual, "int8", base="fp32")

    assert [unit.nodes for unit in found] == [("conv1",), ("conv2", "add")]


def test_what_the_spec_keeps_or_the_data_overflow_is_in_no_unit(residual):
    kept = units(residual, "fp16", keep={"fp32": ["op:Exp"]})
    overflowing = units(residual, "fp16", measured=Measured({"e": 60000.0}))

    assert [unit.name for unit in kept] == ["conv1", "conv2"]
    assert [unit.name for unit in overflowing] == ["conv1", "conv2"]


def test_what_has_no_scale_is_not_quantized(residual):
    found = units(residual, "int8", amax={"r1": 1.0, "x": 1.0})
    partial = units(residual, "int8", amax={"r1": 1.0})

    assert [unit.quantized for unit in found] == [("conv1",), ("conv2", "add"), ()]
    assert [unit.quantized for unit in partial] == [(), ("conv2",), ()]


def test_nothing_is_lowered_in_float32_and_little_where_weights_alone_are(residual):
    assert units(residual, "fp32") == ()
    assert all(not unit.quantized for unit in units(residual, "int4"))


def test_a_glob_that_matches_nothing_is_refused(residual):
    with pytest.raises(SpecError, match="no node of the model matches 'head'"):
        units(residual, "int8", keep={"fp32": ["head"]})


def test_nodes_of_branches_are_units_of_their_own(tmp_path):
    node, value = helper.make_node, helper.make_tensor_value_info
    branches = {
        name: helper.make_graph(
            [node(op, ["r"], [f"{name}_out"], name=f"{name}/{op}")],
            name,
            [],
            [value(f"{name}_out", TensorProto.FLOAT, None)],
        )
        for name, op in (("then", "Exp"), ("else", "Neg"))
    }
    path = save(
        tmp_path / "model.onnx",
        [
            node("Relu", ["x"], ["r"], name="relu"),
            node("ReduceMax", ["x"], ["m"], name="max", keepdims=0),
            node("Greater", ["m", "zero"], ["c"], name="greater"),
            node("If", ["c"], ["y"], name="if", then_branch=branches["then"], else_branch=branches["else"]),
        ],
        {"zero": ()},
    )

    assert {name for unit in units(path, "fp16") for name in unit.nodes} >= {"relu", "max"}
