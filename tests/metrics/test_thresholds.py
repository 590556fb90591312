"""Thresholds: the last that matches decides, what was not measured never passes, NaN always fails."""

from __future__ import annotations

import numpy as np
import pytest

from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.thresholds import failures, judge, never_measured, unmatched
from trtpipe.spec.pipeline import Threshold


def metrics(reference, actual):
    accumulator = Accumulator()
    accumulator.add(np.asarray(reference, np.float32), np.asarray(actual, np.float32))
    return accumulator.result()


EQUAL = metrics([[1, 2, 3]], [[1, 2, 3]])


@pytest.mark.parametrize(
    ("bounds", "outcome"),
    [
        ({"min": 0.9}, "passed"),
        ({"max": 0.9}, "failed"),
        ({"min": 0.9, "max": 1.0}, "passed"),
        ({"min": 1.0}, "passed"),
        ({"min": 1.1}, "failed"),
    ],
)
def test_bounds_are_inclusive_and_both_hold(bounds, outcome):
    compared = judge("y", metrics([1, 0], [1, 0]), [Threshold(metric="cosine", **bounds)])

    assert compared.outcome == outcome


def test_the_last_matching_threshold_of_a_metric_decides():
    strict, loose = Threshold(metric="max_abs", max=0), Threshold(output="log*", metric="max_abs", max=9)

    assert judge("logits", metrics([0], [1]), [strict, loose]).outcome == "passed"
    assert judge("logits", metrics([0], [1]), [loose, strict]).outcome == "failed"


def test_what_cannot_be_measured_is_not_run_and_says_why():
    compared = judge("y", EQUAL, [Threshold(metric="accuracy", min=0.5)])

    assert compared.outcome == "not_run"
    assert compared.verdicts[0].why == "the data has no labels"


def test_nan_fails_even_without_thresholds():
    compared = judge("y", metrics([1, 2], [1, np.nan]), [])

    assert compared.outcome == "failed"
    assert [p.fact for p in failures({"y": compared}, "data")] == [
        "output 'y' holds NaN in 1 elements (data)"
    ]


def test_an_infinity_that_the_reference_has_too_is_no_failure():
    assert (
        judge("y", metrics([1, np.inf], [1, np.inf]), [Threshold(metric="max_abs", max=0)]).outcome
        == "passed"
    )


def test_an_infinity_of_its_own_fails():
    assert judge("y", metrics([1, 2], [1, np.inf]), [Threshold(metric="max_abs", max=9)]).outcome == "failed"


def test_a_glob_that_matches_no_output_is_a_problem_with_the_nearest_name():
    wrong = [Threshold(metric="cosine", min=0), Threshold(output="logit", metric="cosine", min=0)]

    problems = unmatched(wrong, ["logits", "boxes"], ("validate", "thresholds"))

    assert [(p.path, p.fact) for p in problems] == [
        (
            ("validate", "thresholds", 1, "output"),
            "threshold for output 'logit' matches no output of the model",
        )
    ]
    assert problems[0].remedy == "did you mean 'logits'? the outputs are 'logits', 'boxes'"


def test_a_threshold_measured_nowhere_is_found():
    thresholds = [Threshold(metric="accuracy", min=0), Threshold(metric="cosine", min=0)]

    assert never_measured(thresholds, [judge("y", EQUAL, thresholds)]) == {0: "the data has no labels"}
