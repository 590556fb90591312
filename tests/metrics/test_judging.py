"""Judging a report: every place counts, defaults apply when the spec is silent, and overflow is named."""

from __future__ import annotations

import numpy as np

from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.verdicts import judge_report
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


def place(name, reference, actual, labels=None):
    accumulator = Accumulator()
    accumulator.add(np.asarray(reference, np.float32), np.asarray(actual, np.float32), labels)
    return {
        "place": name,
        "kind": "data" if name == "data" else "corner",
        "outputs": {"y": accumulator.result().as_json()},
    }


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
    assert judgement.problems[0].path == ("validate", "thresholds", 1)


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
