"""Thresholds that are proposed from measured noise: a margin from the worst, rounded to the safe side."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.proposals import proposed_thresholds
from trtpipe.metrics.verdicts import judge_report

WANTED = np.linspace(-1, 1, 64, dtype=np.float64)


def report(*noise: float, name: str = "y", wanted=WANTED, actual=None):
    """Places at which an output is off by so much everywhere."""
    places = []
    for index, one in enumerate(noise):
        accumulator = Accumulator()
        accumulator.add(wanted, wanted + one if actual is None else actual)
        places.append(
            {"place": f"{index}", "kind": "data", "outputs": {name: accumulator.result().as_json()}}
        )
    return {"places": places, "nonfinite": [], "not_run": [], "broken": []}


def proposed(*reports, **options):
    return {one.metric: one for one in proposed_thresholds(reports, **options)}


def test_the_worst_of_all_reports_and_places_counts_with_its_margin():
    found = proposed(report(1e-5, 0.99e-3), report(1e-4))

    snr = 10 * math.log10(np.sum(WANTED**2) / (64 * 0.99e-3**2))
    assert found["snr"].min == pytest.approx(math.floor(10 * (snr - 20 * math.log10(3))) / 10)
    assert found["max_abs"].max == pytest.approx(0.003)
    assert (found["snr"].max, found["max_abs"].min) == (None, None)


@pytest.mark.parametrize(
    ("error", "bound"), [(0.00099, 0.003), (0.00101, 0.0031), (0.0333, 0.1), (33.4, 110), (0.39, 1.2)]
)
def test_a_bound_has_two_digits_and_is_never_below_the_margin(error, bound):
    found = proposed(report(error))["max_abs"].max

    assert found == pytest.approx(bound)
    assert found >= 3 * error * (1 - 1e-9)
    assert float(f"{found:.1e}") == found


def test_with_another_margin_other_bounds():
    assert proposed(report(0.00123), margin=10.0)["max_abs"].max == pytest.approx(0.013)


def test_an_output_without_any_error_must_stay_without():
    found = proposed(report(0.0))

    assert set(found) == {"max_abs"}
    assert found["max_abs"].max == 0.0


@pytest.mark.parametrize(
    ("wanted", "actual"),
    [
        ([1.0, 2.0], [1.0, math.nan]),
        ([1.0, 2.0], [1.0, math.inf]),
        ([1.0, math.nan], [1.0, math.nan]),
    ],
)
def test_for_an_output_that_is_not_finite_nothing_is_proposed(wanted, actual):
    broken = report(0.0, wanted=np.array(wanted), actual=np.array(actual))

    assert proposed(broken, report(0.001)) == {}


def test_an_output_without_elements_gets_no_threshold():
    empty = np.zeros(0)

    assert proposed(report(0.0, wanted=empty, actual=empty)) == {}


def test_a_name_with_the_signs_of_a_glob_is_matched_as_it_is():
    found = proposed_thresholds([report(0.001, name="y[0]*")])

    assert {one.output for one in found} == {"y[[]0][*]"}
    judged = judge_report(report(0.001, name="y[0]*"), found)
    assert judged.outcome == "passed" and len(judged.verdicts) == 2


def test_what_was_measured_passes_what_was_proposed_from_it_and_ten_times_as_much_does_not():
    found = proposed_thresholds([report(0.001)])

    assert judge_report(report(0.001), found).outcome == "passed"
    assert judge_report(report(0.01), found).outcome == "failed"
