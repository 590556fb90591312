"""Shapes that a data set feeds, against the model's inputs and the profiles."""

from __future__ import annotations

from typing import Any

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.proofs.samples import prove_samples
from trtpipe.spec.pipeline import ProfileInput

X = TensorInfo("x", "float32", ("n", 3, "h"))
STATE = TensorInfo("state", "float32", (2,))


def profile(low: Any, opt: Any, high: Any) -> dict[str, ProfileInput]:
    return {"x": ProfileInput(min=low, opt=opt, max=high)}


SMALL, LARGE = profile((1, 3, 8), (2, 3, 8), (4, 3, 16)), profile((1, 3, 32), (2, 3, 32), (4, 3, 64))


def problem(fact: str, remedy: str) -> Problem:
    return Problem(Code.SAMPLES_MISFIT, f"data set 'val' feeds {fact}", remedy, path=("validate", "data"))


def prove(
    batches: list[dict[str, Any]], profiles: tuple[Any, ...] = (SMALL,), inputs: Any = (X,)
) -> list[Problem]:
    return prove_samples(batches, inputs, profiles, data="val")


def test_samples_within_a_profile_pass() -> None:
    assert prove([{"x": (4, 3, 16)}, {"x": (1, 3, 8)}]) == []
    assert prove([{"x": (4, 3, 40)}], (SMALL, LARGE)) == []


def test_a_sample_outside_the_only_profile_offers_a_wider_one() -> None:
    assert prove([{"x": (8, 3, 4)}, {"x": (8, 3, 4)}]) == [
        problem(
            "'x' with 8x3x4, which fits no profile: axis 0 is 1 to 4 in profile 0",
            "widen it: x: {min: 1x3x4, opt: 2x3x8, max: 8x3x16}",
        ),
        problem(
            "'x' with 8x3x4, which fits no profile: axis 2 is 8 to 16 in profile 0",
            "widen it: x: {min: 1x3x4, opt: 2x3x8, max: 8x3x16}",
        ),
    ]


def test_the_nearest_of_several_profiles_is_named() -> None:
    assert prove([{"x": (8, 3, 40)}], (SMALL, LARGE)) == [
        problem(
            "'x' with 8x3x40, which fits no profile: axis 0 is 1 to 4 in the nearest, profile 1",
            "widen it: x: {min: 1x3x32, opt: 2x3x32, max: 8x3x64}",
        )
    ]


def test_a_static_axis_is_the_models_word_not_the_profiles() -> None:
    assert prove([{"x": (1, 4, 8)}]) == [
        problem("'x' with 4 on axis 1, but it is 3", "the model declares [n, 3, h]")
    ]
    static = TensorInfo("x", "float32", (1, 3))
    assert prove([{"x": (2, 3)}], (), (static,)) == [
        problem("'x' with 2 on axis 0, but it is 1", "the model declares [1, 3]: write batch: 1 in the set")
    ]


def test_ranks_and_names_must_fit() -> None:
    assert prove([{"x": (1, 3), "States": (2,)}], (), (X, STATE)) == [
        problem(
            "'States', which is not an input of the model", "did you mean 'state'? valid inputs: x, state"
        ),
        problem("'x' with 1x3, which has rank 2", "the model declares [n, 3, h], rank 3"),
        problem("nothing to input 'state'", "add it to the set's 'inputs'"),
    ]
