"""Reports held against budgets: the worst output counts, on the data only."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trtpipe.metrics.budgets import reached
from trtpipe.metrics.metrics import Accumulator
from trtpipe.spec.budget import BudgetSpec

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((200, 10)).astype(np.float32)
LABELS = SCORES.argmax(axis=1)


def budget(**given):
    return BudgetSpec.model_validate(given)


def place(actual, *, kind="data", labels=None, reference=SCORES):
    accumulator = Accumulator()
    accumulator.add(reference, actual, labels)
    return {"place": kind, "kind": kind, "outputs": {"scores": accumulator.result().as_json()}}


def test_the_same_outputs_are_inside_every_budget():
    report = {"places": [place(SCORES, labels=LABELS)]}

    for one in (
        budget(metric="cosine", min=0.999),
        budget(metric="max_abs", max=0.0),
        budget(accuracy_drop=0.0),
    ):
        found = reached(report, one)
        assert (found.inside, found.excess, found.noise, found.why) == (True, 0.0, 0.0, "")


def test_a_miss_says_what_was_reached_and_by_how_much():
    noisy = SCORES + 0.5 * RNG.standard_normal(SCORES.shape).astype(np.float32)

    found = reached({"places": [place(noisy)]}, budget(metric="cosine", min=0.999))

    assert not found.inside
    assert found.value == pytest.approx(0.89, abs=0.02)
    assert found.excess == pytest.approx(0.999 - found.value)
    assert found.noise == pytest.approx(0.25, rel=0.1)
    assert found.why.startswith("output 'scores' has cosine 0.8")


def test_a_drop_of_accuracy_is_what_the_reference_had_more():
    wrong = SCORES.copy()
    wrong[:4] = -wrong[:4]
    report = {"places": [place(wrong, labels=LABELS)]}

    assert reached(report, budget(accuracy_drop=0.02)).inside
    missed = reached(report, budget(accuracy_drop=0.015))
    assert (missed.inside, missed.value) == (False, pytest.approx(0.02))


def test_corners_do_not_count():
    report = {"places": [place(SCORES), place(-SCORES, kind="corner")]}

    assert reached(report, budget(metric="cosine", min=0.999)).inside


def test_what_is_not_finite_is_never_inside():
    broken = SCORES.copy()
    broken[0, 0] = np.inf

    found = reached({"places": [place(broken)]}, budget(metric="cosine", min=-1.0))

    assert (found.inside, found.excess, found.noise) == (False, math.inf, math.inf)


def test_what_was_not_measured_is_not_inside_and_says_why():
    unlabelled = {"places": [place(SCORES)]}
    nothing = {"places": [], "not_run": [{"name": "the typed model", "why": "no kernel"}]}

    assert (
        "accuracy of output 'scores' was not measured" in reached(unlabelled, budget(accuracy_drop=0.1)).why
    )
    assert reached(nothing, budget(metric="cosine", min=0.9)).why == "nothing was measured: no kernel"
