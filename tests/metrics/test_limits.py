"""What a searched model must keep at once, and limits that nothing can keep."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trtpipe.metrics.limits import limit_problems, standing
from trtpipe.metrics.metrics import Accumulator
from trtpipe.problem_codes import Code
from trtpipe.spec.budget import BudgetSpec
from trtpipe.spec.limits import Limits
from trtpipe.spec.pipeline import Threshold

SCORES = np.random.default_rng(0).standard_normal((200, 10)).astype(np.float32)
NOISY = SCORES + 0.1 * np.random.default_rng(1).standard_normal(SCORES.shape).astype(np.float32)
BUDGET = BudgetSpec(metric="cosine", min=0.9)


def place(name, actual):
    accumulator = Accumulator()
    accumulator.add(SCORES, actual, None)
    kind = name if name == "data" else "corner"
    return {"place": name, "kind": kind, "outputs": {"scores": accumulator.result().as_json()}}


def limits(**threshold):
    return Limits(BUDGET, (Threshold.model_validate({"metric": "cosine", **threshold}),))


def test_what_keeps_the_budget_and_misses_a_threshold_at_a_corner_is_outside():
    report = {"places": [place("data", SCORES), place("profile 0 max", NOISY)]}

    found = standing(report, limits(min=0.999))

    (missed,) = found.missed
    assert missed.startswith("output 'scores' has cosine 0.99")
    assert "must be at least 0.999 (profile 0 max)" in missed
    assert not found.over_budget
    assert 0 < found.excess < 0.01


def test_the_budget_is_named_first_where_both_are_missed_and_the_misses_add_up():
    report = {"places": [place("data", -SCORES)]}

    found = standing(report, limits(min=0.5))

    assert len(found.missed) == 2
    assert "not cosine at least 0.9" in found.missed[0]
    assert found.over_budget
    assert found.excess == pytest.approx(1.9 + 1.5)


def test_what_is_not_finite_at_a_corner_is_outside_without_any_threshold():
    broken = SCORES.copy()
    broken[0, 0] = np.nan

    found = standing({"places": [place("data", SCORES), place("profile 0 min", broken)]}, Limits(BUDGET))

    assert found.missed == ("output 'scores' holds NaN in 1 elements (profile 0 min)",)
    assert found.excess == math.inf


def test_a_threshold_that_was_measured_nowhere_is_missed():
    found = standing({"places": [place("data", SCORES)]}, limits(metric="accuracy", min=0.5))

    assert "was not measured anywhere" in found.missed[0]
    assert found.excess == math.inf


def test_what_keeps_everything_is_inside():
    found = standing({"places": [place("data", SCORES)]}, limits(min=0.999))

    assert (found.missed, found.excess, found.over_budget) == ((), 0.0, False)


@pytest.mark.parametrize(
    ("thresholds", "budget", "fact"),
    [
        ([{"metric": "cosine", "min": 1.5}], None, "cosine must be at least 1.5, and is always between -1 and 1"),
        ([{"metric": "max_abs", "max": -1}], None, "max_abs must be at most -1, and is always 0 or more"),
        ([{"metric": "snr", "min": 9, "max": 3}], None, "snr must be at least 9 and at most 3: that cannot be met"),
        ([], {"metric": "accuracy", "min": 2}, "accuracy must be at least 2, and is always between 0 and 1"),
        (
            [{"metric": "cosine", "max": 0.9}],
            {"metric": "cosine", "min": 0.99},
            "the budget requires cosine at least 0.99, but thresholds require output 'b' at most 0.9",
        ),
        ([{"metric": "cosine", "max": 0.9, "output": "a"}], {"metric": "cosine", "min": 0.99}, None),
        ([{"metric": "cosine", "min": 0.9999}], {"metric": "cosine", "min": 0.99}, None),
        ([{"metric": "cosine", "min": 0.9999}], {"accuracy_drop": 0.5}, None),
    ],
)  # fmt: skip
def test_limits_that_nothing_keeps_are_told_and_others_are_not(thresholds, budget, fact):
    budgets = (
        {"auto": BudgetSpec.model_validate({"output": "b", **budget} if "metric" in budget else budget)}
        if budget
        else {}
    )

    found = list(
        limit_problems(
            [Threshold.model_validate(one) for one in thresholds], budgets, ["a", "b"], labelled=True
        )
    )

    assert [one.fact for one in found if fact is None] == []
    assert fact is None or (fact in found[0].fact and found[0].code is Code.OUT_OF_RANGE and found[0].remedy)
