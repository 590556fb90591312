"""Shapes that inference lets pass and no runtime takes: each rule is held against ONNX Runtime, right and wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.errors import Problem
from trtpipe.proofs.model import prove_model, view_model
from trtpipe.proofs.proposals import propose_profile
from trtpipe.spec.pipeline import PipelineSpec


def model(
    nodes: list[Any], dims: list[Any], opset: int = 17, **constants: tuple[int, ...] | list[int]
) -> onnx.ModelProto:
    """Nodes on `x` of these dims; constants are a shape, of ones, or a list of integers."""
    weights = [
        numpy_helper.from_array(
            np.array(value, np.int64) if isinstance(value, list) else np.ones(value, np.float32), name
        )
        for name, value in constants.items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operator: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), [output], name=f"the_{operator}", **attributes)


def prove(proto: onnx.ModelProto, *profiles: Any) -> list[Problem]:
    record = {"schema": 1, "pipeline": "p", "model": {"source": "m.onnx"}, "targets": {"t": {"gpu": "sm89"}}}
    return prove_model(proto, PipelineSpec.model_validate({**record, "profiles": list(profiles)}).profiles)


def runs(proto: onnx.ModelProto, shape: tuple[int, ...]) -> bool:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
        session.run(None, {"x": np.ones(shape, np.float32)})
    except Exception:  # ONNX Runtime's exceptions share no other base
        return False
    return True


FIXED_BATCH = model([node("Reshape", "x s")], ["n", 3, 4], s=[1, 12])
CASES: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "Reshape": (FIXED_BATCH, (2, 3, 4), "'x' is 2x3x4, 24 elements, and it is to become 1x12, 12 elements"),
    "PRelu": (
        model([node("PRelu", "x a")], ["n", 4, 8, 8], a=(4,)),
        (1, 4, 8, 8),
        "its slope 'a' is 4, which does not broadcast to 1x4x8x8",
    ),
    "Conv": (
        model([node("Conv", "x a", group=2)], ["n", 4, 8, 8], a=(2, 3, 1, 1)),
        (1, 4, 8, 8),
        "'x' has 4 channels, and its weight 'a' of 2x3x1x1 takes 6",
    ),
    "ConvTranspose": (
        model([node("ConvTranspose", "x a")], ["n", 4, 8, 8], a=(3, 4, 1, 1)),
        (1, 4, 8, 8),
        "'x' has 4 channels, and its weight 'a' of 3x4x1x1 takes 3",
    ),
    "LayerNormalization": (
        model([node("LayerNormalization", "x a")], ["n", 4], a=(3,)),
        (2, 4),
        "its scale 'a' is 3, which does not broadcast to 2x4",
    ),
    "InstanceNormalization": (
        model([node("InstanceNormalization", "x a b")], ["n", 4, 8], a=(4,), b=(2,)),
        (1, 4, 8),
        "'b' is 2, and 'x' has 4 channels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("operator", CASES)
def test_what_no_runtime_takes_is_said_of_the_node(operator):
    proto, shape, said = CASES[operator]
    assert not runs(proto, shape)
    facts = [one.fact for one in prove(proto, {"x": "x".join(map(str, shape))})]
    name = f"node 'the_{operator}' ({operator}) does not accept these shapes"
    assert facts == [f"profile 0 is impossible at min, opt and max: {name}: {said}"]


RIGHT: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Reshape with -1": (model([node("Reshape", "x s")], ["n", 3, 4], s=[-1, 12]), (2, 3, 4)),
    "Reshape with 0": (model([node("Reshape", "x s")], ["n", 3, 4], s=[0, 12]), (2, 3, 4)),
    "PRelu by channel": (model([node("PRelu", "x a")], ["n", 4, 8, 8], a=(4, 1, 1)), (1, 4, 8, 8)),
    "PRelu by column": (model([node("PRelu", "x a")], ["n", 4, 8, 8], a=(8,)), (1, 4, 8, 8)),
    "Gemm": (model([node("Gemm", "x a", transA=1)], ["n", 4], a=(3, 5)), (3, 4)),
    "Conv": (model([node("Conv", "x a", group=2)], ["n", 4, 8], a=(2, 2, 1)), (1, 4, 8)),
    "ConvTranspose": (
        model([node("ConvTranspose", "x a", group=2)], ["n", 4, 8], a=(4, 3, 1)), (1, 4, 8)
    ),
    "BatchNormalization": (
        model([node("BatchNormalization", "x a a a a")], ["n", 4], a=(4,)), (3, 4)
    ),
    "LayerNormalization": (model([node("LayerNormalization", "x a")], ["n", 4, 4], a=(4,)), (2, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT)
def test_what_a_runtime_takes_is_no_problem(what):
    proto, shape = RIGHT[what]
    assert runs(proto, shape)
    assert prove(proto, {"x": "x".join(map(str, shape))}) == []


@pytest.mark.parametrize("wrong", [node("Gemm", "x a", transB=1), node("BatchNormalization", "x b b c b")])
def test_what_inference_itself_tests_is_said_too(wrong):
    proto = model([wrong], ["n", 4], a=(2, 5), b=(4,), c=(5,))
    assert not runs(proto, (3, 4))
    assert [f"'the_{wrong.op_type}'" in one.fact for one in prove(proto, {"x": "3x4"})] == [True]


def test_a_slope_by_channel_of_the_oldest_opsets_is_left_alone():
    assert prove(model([node("PRelu", "x a")], ["n", 4, 8, 8], opset=6, a=(4,)), {"x": "1x4x8x8"}) == []


def test_a_corner_that_does_not_work_is_said_once_with_a_profile_that_does():
    (problem,) = prove(FIXED_BATCH, {"x": {"min": "1x3x4", "opt": "4x3x4", "max": "8x3x4"}})
    assert problem.fact.startswith("profile 0 is impossible at opt and max: node 'the_Reshape'")
    assert problem.remedy.endswith("with the model as it is, this profile works:\nprofiles:\n  - x: 1x3x4")
    assert prove(FIXED_BATCH, {"x": "1x3x4"}) == []


def test_only_the_batch_is_taken_back_where_that_is_enough():
    proto = model([node("Reshape", "x s")], ["n", "t", 4], s=[1, -1, 2, 2])
    fits = model([node("Shape", "x", "d"), node("Gather", "d one", "t"), node("Concat", "e t f", "s", axis=0),
                  node("Reshape", "x s")], ["n", "t", 4], one=[1], e=[1], f=[4])  # fmt: skip
    assert prove(proto, {"x": {"min": "1x1x4", "opt": "2x5x4", "max": "8x9x4"}}) == []
    (problem,) = prove(fits, {"x": {"min": "1x1x4", "opt": "1x5x4", "max": "8x9x4"}})
    assert problem.remedy.endswith("- x: {min: 1x1x4, opt: 1x5x4, max: 1x9x4}")


def test_a_proposed_profile_works_at_every_corner():
    view = view_model(FIXED_BATCH)
    proposal = propose_profile(view.inputs, infer=view.infer, value_inputs=view.value_inputs)
    assert proposal.problems == ()
    assert proposal.profile["x"].max == (1, 3, 4)
