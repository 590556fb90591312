"""Thresholds: the last that matches decides, what was not measured never passes, NaN always fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.thresholds import Comparison, Verdict, failures, judge, never_measured, unmatched
from trtpipe.problem_codes import Code
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


# -- verdicts, value by value


def test_a_verdict_has_the_value_and_both_bounds_or_the_reason():
    asked = [
        Threshold(metric="cosine", min=0.5, max=0.9),
        Threshold(metric="max_abs", max=1),
        Threshold(metric="accuracy", min=0.5, max=0.6),
    ]
    measured = metrics([1, 0], [1, 0])

    compared = judge("y", measured, asked)

    assert (compared.output, compared.metrics) == ("y", measured)
    assert compared.verdicts == (
        Verdict("cosine", "failed", 1.0, 0.5, 0.9),
        Verdict("max_abs", "passed", 0.0, None, 1),
        Verdict("accuracy", "not_run", None, 0.5, 0.6, "the data has no labels"),
    )


def test_a_metric_that_a_report_lacks_without_a_reason_was_not_measured():
    bare = replace(EQUAL, not_applicable={})

    (verdict,) = judge("y", bare, [Threshold(metric="accuracy", min=0.5)]).verdicts

    assert verdict.why == "it was not measured"


BOTH_NAN = "holds NaN in 1 elements, as its reference does: the model is not defined on this data"


@pytest.mark.parametrize(
    ("reference", "actual", "why"),
    [
        ([1, 2], [1, np.nan], "holds NaN in 1 elements"),
        ([np.nan, 2], [np.nan, np.nan], "holds NaN in 2 elements"),
        ([np.nan, 2], [1, np.nan], "holds NaN in 1 elements"),
        ([1, np.nan], [1, np.nan], BOTH_NAN),
        (
            [1, np.nan],
            [1, 2],
            "differs from its reference in whether values are finite, in 1 elements",
        ),
        (
            [np.inf, -np.inf, 1],
            [-np.inf, -np.inf, np.inf],
            "differs from its reference in whether values are finite, in 2 elements",
        ),
    ],
)
def test_what_is_not_finite_is_told_before_any_threshold(reference, actual, why):
    compared = judge("y", metrics(reference, actual), [Threshold(metric="max_abs", max=9)])

    assert compared.outcome == "failed"
    assert compared.verdicts[0] == Verdict("finite", "failed", None, None, None, why)
    assert len(compared.verdicts) == 2


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"min": 1.5}, "has cosine 1, which must be at least 1.5"),
        ({"max": 0.25}, "has cosine 1, which must be at most 0.25"),
        ({"min": 0.125, "max": 0.25}, "has cosine 1, which must be at least 0.125 and at most 0.25"),
    ],
)
def test_a_failure_names_its_bounds(bounds, words):
    compared = judge("y", metrics([1, 0], [1, 0]), [Threshold(metric="cosine", **bounds)])

    (problem,) = failures({"y": compared}, "profile 0 at max")

    assert (problem.code, problem.fact) == (
        Code.THRESHOLD_MISSED,
        f"output 'y' {words} (profile 0 at max)",
    )


@pytest.mark.parametrize(
    ("glob", "outputs", "remedy"),
    [
        (
            "*logit*",
            ["logits", "logit_1", "boxes"],
            "did you mean 'logits'? the outputs are 'logits', 'logit_1', 'boxes'",
        ),
        ("zzz", ["logits"], "the outputs are 'logits'"),
    ],
)
def test_the_nearest_output_is_offered_where_one_is_near(glob, outputs, remedy):
    wrong = [Threshold(output=glob + "!", metric="cosine", min=0)]

    (problem,) = unmatched(wrong, outputs, ())

    assert (problem.code, problem.remedy, problem.path) == (Code.UNMATCHED_OUTPUT, remedy, (0, "output"))


@pytest.mark.parametrize(
    ("outcomes", "whole"),
    [
        ([], "not_run"),
        (["not_run"], "not_run"),
        (["not_run", "passed"], "passed"),
        (["passed", "failed", "not_run"], "failed"),
    ],
)
def test_an_output_is_as_bad_as_its_worst_verdict(outcomes, whole):
    verdicts = tuple(Verdict("cosine", one, None, None, None) for one in outcomes)

    assert Comparison("y", EQUAL, verdicts).outcome == whole


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (0.99999998, {"min": 0.99999999}, "has cosine 0.99999998, which must be at least 0.99999999"),
        (0.500000001, {"max": 0.5}, "has cosine 0.500000001, which must be at most 0.5"),
    ],
)
def test_a_failed_value_has_the_digits_that_tell_it_from_its_bound(value, bounds, words):
    near = replace(EQUAL, values={**EQUAL.values, "cosine": value})

    (problem,) = failures({"y": judge("y", near, [Threshold(metric="cosine", **bounds)])}, "data")

    assert problem.fact == f"output 'y' {words} (data)"
