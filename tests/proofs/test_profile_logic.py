"""The profile rules against a plain oracle, on random models and profiles."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from trtpipe.proofs.model import prove_model, view_model
from trtpipe.proofs.proposals import propose_profile
from trtpipe.spec.pipeline import PipelineSpec

SIZES = st.integers(1, 3)
DIMS = st.lists(st.one_of(SIZES, st.sampled_from(["n", "m", "?", "unk__1", None])), min_size=0, max_size=3)
MODELS = st.dictionaries(st.sampled_from(["x", "y"]), DIMS, min_size=1)


def model_of(inputs: dict[str, list[Any]]) -> Any:
    """Every input goes its own way, so that no operator adds a rule."""
    nodes = [helper.make_node("Relu", [name], [f"{name}_out"], name=name) for name in inputs]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()]
    outputs = [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None) for name in inputs]
    graph = helper.make_graph(nodes, "g", values, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@st.composite
def cases(draw: Any) -> tuple[dict[str, list[Any]], dict[str, dict[str, list[int]]]]:
    """A model's inputs, and a profile that is right more often than chance would have it."""
    inputs = draw(MODELS)
    names = {name: draw(SIZES) for name in ("n", "m")}
    profile: dict[str, dict[str, list[int]]] = {}
    for name, dims in inputs.items():
        if draw(st.integers(0, 9)):
            sizes = [dim if isinstance(dim, int) else names.get(dim, 2) for dim in dims]
            steps = [[draw(st.sampled_from([0, 0, 0, 1])) for _ in dims] for _ in range(2)]
            opt = [size + step for size, step in zip(sizes, steps[0], strict=True)]
            high = [size + step for size, step in zip(opt, steps[1], strict=True)]
            profile[name] = {"min": sizes, "opt": opt, "max": high if draw(st.integers(0, 5)) else sizes}
    return inputs, profile


def is_right(inputs: dict[str, list[Any]], profile: dict[str, dict[str, list[int]]]) -> bool:
    """The rules again, as plainly as they can be written."""
    for name, dims in inputs.items():
        entry = profile.get(name)
        if entry is None:
            if any(not isinstance(dim, int) for dim in dims):
                return False
            continue
        for axis, dim in enumerate(dims):
            low, opt, high = (entry[corner][axis] for corner in ("min", "opt", "max"))
            if not low <= opt <= high or (isinstance(dim, int) and {low, opt, high} != {dim}):
                return False
    for shared in ("n", "m"):
        axes = [(name, dims.index(shared)) for name, dims in inputs.items() if dims.count(shared) == 1]
        for corner in ("min", "opt", "max"):
            if len({profile[name][corner][axis] for name, axis in axes if name in profile}) > 1:
                return False
    return True


def errors(inputs: dict[str, list[Any]], profiles: Any) -> list[str]:
    document = {"schema": 1, "pipeline": "p", "model": {"source": "m"}, "targets": {"t": {"gpu": "sm89"}}}
    spec = PipelineSpec.model_validate({**document, "profiles": profiles})
    found = prove_model(model_of(inputs), spec.profiles)
    return [problem.fact for problem in found if problem.severity == "error"]


@settings(max_examples=300)
@given(cases())
def test_a_profile_is_proved_if_and_only_if_the_oracle_says_so(case: Any) -> None:
    inputs, profile = case
    found = errors(inputs, [profile])
    assert (not found) == is_right(inputs, profile), found


@settings(max_examples=60)
@given(MODELS)
def test_a_proposed_profile_is_proved(inputs: dict[str, list[Any]]) -> None:
    view = view_model(model_of(inputs))
    proposal = propose_profile(view.inputs, infer=view.infer, value_inputs=view.value_inputs)
    assert proposal.problems == ()
    assert errors(inputs, [proposal.profile] if proposal.profile else []) == []
