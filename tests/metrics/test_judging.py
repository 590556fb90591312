"""Judging a report: every place counts, defaults apply when the spec is silent, and overflow is named."""

from __future__ import annotations

import numpy as np
import pytest

from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.verdicts import Judgement, failed_places, judge_engine, judge_report
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import Threshold

COSINE = Threshold(metric="cosine", min=0.99)
ACCURACY = Threshold(metric="accuracy", min=0.5)
OVERFLOW = {
    "tensor": "t",
    "op": "ReduceSum",
    "node": "sum",
    "what": "overflow",
    "elements": 1,
    "reference_max": 1e5,
}


def output(reference, actual, labels=None):
    accumulator = Accumulator()
    accumulator.add(np.asarray(reference, np.float32), np.asarray(actual, np.float32), labels)
    return accumulator.result().as_json()


def place(name, reference, actual, labels=None, **others):
    kind = "data" if name == "data" else "corner"
    return {"place": name, "kind": kind, "outputs": {"y": output(reference, actual, labels), **others}}


GOOD = place("data", np.eye(3), np.eye(3), np.arange(3))
CORNER = place("profile 0 at max", np.eye(3), np.eye(3))
BAD = place("profile 0 at max", np.eye(3), np.eye(3)[::-1])


def report(*places, **more):
    return {"places": list(places), **more}


def test_one_bad_corner_fails_everything():
    judgement = judge_report(report(GOOD, BAD), [COSINE])

    assert judgement.outcome == "failed"
    assert [p.fact for p in judgement.problems] == [
        "output 'y' has cosine 0.333333, which must be at least 0.99 (profile 0 at max)"
    ]


def test_accuracy_holds_where_there_are_labels_and_is_left_out_elsewhere():
    judgement = judge_report(report(GOOD, CORNER), [COSINE, ACCURACY])

    assert judgement.outcome == "passed"
    assert [(v["place"], v["metric"]) for v in judgement.verdicts] == [
        ("data", "cosine"),
        ("data", "accuracy"),
        ("profile 0 at max", "cosine"),
    ]
    assert (judgement.accuracy, judgement.reference_accuracy) == (1.0, 1.0)


def test_a_threshold_that_was_measured_nowhere_fails():
    judgement = judge_report(report(CORNER), [COSINE, ACCURACY])

    assert judgement.outcome == "failed"
    (problem,) = judgement.problems
    assert (problem.code, problem.path) == (Code.NOT_MEASURED, ("validate", "thresholds", 1))
    assert problem.fact == "accuracy of output '*' was not measured anywhere: the data has no labels"
    assert problem.remedy == "remove the threshold, or use data on which it can be measured"


def test_a_default_that_was_measured_nowhere_is_not_run():
    judgement = judge_report(report(CORNER), [], [COSINE, ACCURACY])

    assert (judgement.outcome, judgement.problems) == ("passed", ())
    assert [(v["metric"], v["outcome"]) for v in judgement.verdicts] == [
        ("cosine", "passed"),
        ("accuracy", "not_run"),
    ]


def test_what_was_measured_for_one_output_counts_for_no_other():
    """`boxes` has no classes anywhere: its accuracy is named at each place, that of `y` where it was measured."""
    boxes = output(np.ones(3), np.ones(3))

    judgement = judge_report(
        report(place("data", np.eye(3), np.eye(3), np.arange(3), boxes=boxes), CORNER), [COSINE, ACCURACY]
    )

    assert [(v["place"], v["output"], v["metric"], v["outcome"]) for v in judgement.verdicts] == [
        ("data", "y", "cosine", "passed"),
        ("data", "y", "accuracy", "passed"),
        ("data", "boxes", "cosine", "passed"),
        ("data", "boxes", "accuracy", "not_run"),
        ("profile 0 at max", "y", "cosine", "passed"),
    ]


@pytest.mark.parametrize(("named", "accuracy"), [("y", 1.0), ("z", 0.0), ("*", 1.0)])
def test_the_accuracy_is_that_of_the_output_that_a_threshold_names(named, accuracy):
    wrong = output(np.eye(3), np.eye(3)[[1, 2, 0]], np.arange(3))
    both = place("data", np.eye(3), np.eye(3), np.arange(3), z=wrong)

    judgement = judge_report(
        report(both),
        [Threshold(output="x", metric="cosine", min=0), Threshold(output=named, metric="accuracy", min=0)],
    )

    assert (judgement.accuracy, judgement.reference_accuracy) == (accuracy, 1.0)


def test_other_thresholds_do_not_choose_the_output_of_the_accuracy():
    wrong = output(np.eye(3), np.eye(3)[[1, 2, 0]], np.arange(3))
    both = place("data", np.eye(3), np.eye(3), np.arange(3), z=wrong)

    assert judge_report(report(both), [Threshold(output="z", metric="cosine", min=0)]).accuracy == 1.0


def test_defaults_apply_when_the_spec_sets_none_and_are_said():
    judgement = judge_report(report(BAD), [], [COSINE])

    assert judgement.outcome == "failed"
    assert judgement.by_default


def test_a_report_without_places_is_not_run():
    skipped = [{"name": "data", "why": "the spec names no data"}]

    judgement = judge_report(report(not_run=skipped), [], [COSINE])

    assert judgement.outcome == "not_run"
    assert judgement.not_run == ("data: the spec names no data",)


def test_a_failure_names_where_the_overflow_begins():
    judgement = judge_report(report(BAD, nonfinite=[{"place": "data", **OVERFLOW}]), [COSINE])

    assert judgement.problems[0].remedy.splitlines()[0] == (
        "overflow begins in 't' (ReduceSum, data), where the reference reaches 1e+05"
    )


def test_a_hidden_overflow_is_told_even_when_all_passes():
    judgement = judge_report(report(GOOD, nonfinite=[{"place": "data", **OVERFLOW}]), [COSINE])

    assert judgement.outcome == "passed"
    assert len(judgement.nonfinite) == 1


def onset(tensor, **more):
    return {"place": "data", **OVERFLOW, "tensor": tensor, **more}


def test_a_failure_names_a_few_nodes_to_keep_and_stays_what_it_is():
    found = [onset("t0", node=""), onset("t1", node="n1"), onset("t2", reference_max=None), onset("t3")]
    plain = judge_report(report(BAD), [COSINE]).problems[0]

    judgement = judge_report(report(BAD, nonfinite=found), [COSINE])

    (problem,) = judgement.problems
    assert problem.remedy.splitlines() == [
        "overflow begins in 't0' (ReduceSum, data), where the reference reaches 1e+05",
        "overflow begins in 't1' (ReduceSum, data), where the reference reaches 1e+05",
        "overflow begins in 't2' (ReduceSum, data)",
        "keep these nodes and what reads them in float32: keep: {fp32: ['t0', 'n1', 'sum', …]}",
    ]
    assert (problem.code, problem.fact, problem.where) == (plain.code, plain.fact, plain.where)
    assert (problem.path, problem.severity) == (plain.path, plain.severity)
    assert len(judgement.nonfinite) == 4


def test_only_the_first_failure_names_the_overflow():
    bad = place("data", np.eye(3), np.eye(3)[::-1])

    judgement = judge_report(
        report(bad, BAD, place("b", np.eye(3), np.eye(3)[::-1]), nonfinite=[onset("t")]), [COSINE]
    )

    assert [bool(one.remedy) for one in judgement.problems] == [True, False, False]
    assert [one.fact.rpartition(" (")[2] for one in judgement.problems] == [
        "data)",
        "profile 0 at max)",
        "b)",
    ]
    assert failed_places(judgement) == {"data", "profile 0 at max", "b"}


def test_a_threshold_that_cannot_be_measured_is_no_matter_of_overflow():
    judgement = judge_report(report(CORNER, nonfinite=[onset("t")]), [ACCURACY])

    assert judgement.problems[0].remedy == "remove the threshold, or use data on which it can be measured"


def test_a_judgement_is_plain_data_in_a_manifest():
    judgement = judge_report(
        report(GOOD, BAD, twins={"bfloat16": "float32"}, nonfinite=[onset("t")]), [], [COSINE]
    )

    assert judgement.as_json() == {
        "outcome": "failed",
        "accuracy": 1.0,
        "reference_accuracy": 1.0,
        "default_thresholds": True,
        "thresholds": [{"output": "*", "metric": "cosine", "min": 0.99, "max": None}],
        "twins": {"bfloat16": "float32"},
        "verdicts": [
            {
                "place": "data",
                "output": "y",
                "metric": "cosine",
                "outcome": "passed",
                "value": 1.0,
                "min": 0.99,
                "max": None,
                "why": "",
            },
            {
                "place": "profile 0 at max",
                "output": "y",
                "metric": "cosine",
                "outcome": "failed",
                "value": pytest.approx(1 / 3),
                "min": 0.99,
                "max": None,
                "why": "",
            },
        ],
        "nonfinite": ["overflow begins in 't' (ReduceSum, data), where the reference reaches 1e+05"],
        "problems": ["output 'y' has cosine 0.333333, which must be at least 0.99 (profile 0 at max)"],
    }


def test_only_places_that_failed_are_named():
    assert failed_places(judge_report(report(GOOD, BAD), [COSINE])) == {"profile 0 at max"}


# -- what an engine gave


def engine(record, thresholds=(COSINE, ACCURACY), *, samples: int | None = 3) -> Judgement:
    return judge_engine(record, thresholds, samples=samples)


def test_an_engine_is_judged_by_its_models_thresholds_and_they_are_no_defaults():
    judgement = engine(report(GOOD, recorded=3))

    assert (judgement.outcome, judgement.by_default) == ("passed", False)
    assert judgement.thresholds == (COSINE, ACCURACY)
    assert judgement.not_run == ()


@pytest.mark.parametrize(
    ("recorded", "samples", "whole"), [(2, 3, False), (3, 3, True), (4, 3, True), (0, None, True)]
)
def test_the_accuracy_of_fewer_samples_is_not_judged(recorded, samples, whole):
    wrong = place("data", np.eye(3), np.eye(3), np.array([1, 2, 0]))

    judgement = engine(report(wrong, recorded=recorded, not_run=[{"name": "y", "why": "w"}]), samples=samples)

    assert judgement.outcome == ("failed" if whole else "passed")
    left_out = () if whole else ("accuracy: 2 of 3 samples were recorded",)
    assert judgement.not_run == ("y: w", *left_out)


def test_nothing_is_left_out_of_thresholds_without_accuracy():
    assert engine(report(GOOD, recorded=1), [COSINE]).not_run == ()


def test_a_place_where_an_engine_gave_nothing_fails_before_the_others():
    judgement = engine(report(GOOD, BAD, recorded=3, broken=[{"place": "profile 1", "why": "it ended"}]))

    assert judgement.outcome == "failed"
    assert [(one.code, one.fact) for one in judgement.problems] == [
        (Code.RUN_FAILED, "it ended (profile 1)"),
        (
            Code.THRESHOLD_MISSED,
            "output 'y' has cosine 0.333333, which must be at least 0.99 (profile 0 at max)",
        ),
    ]
    assert engine(report(GOOD, recorded=3, broken=[{"place": "p", "why": "w"}])).outcome == "failed"


def test_what_was_measured_nowhere_of_an_engine_is_not_run_and_no_failure():
    judgement = engine(report(CORNER, recorded=3))

    assert (judgement.outcome, judgement.problems) == ("passed", ())
    assert [v["outcome"] for v in judgement.verdicts] == ["passed", "not_run"]
