"""Percentiles, histograms, block medians and windows of series of times, by their properties."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtpipe.metrics.latency import BLOCKS, summary_of
from trtpipe.runners.inference.engine_process.steadiness import LEAST_EXECUTIONS, WINDOWS, Steadiness

TIMES = st.lists(st.floats(0.01, 1e8), min_size=1, max_size=400)


@given(TIMES)
def test_a_summary_orders_its_numbers(times):
    found = summary_of(times)

    names = ("min_us", "p50_us", "p90_us", "p95_us", "p99_us", "max_us")
    numbers = [found[name] for name in names]
    assert numbers == sorted(numbers)
    assert (found["min_us"], found["max_us"], found["count"]) == (min(times), max(times), len(times))
    assert found["mean_us"] == pytest.approx(math.fsum(times) / len(times))


@given(TIMES)
def test_percentiles_are_those_of_the_definition(times):
    """Hyndman and Fan's seventh: at (n - 1) p between the order statistics around it."""
    ordered, found = sorted(times), summary_of(times)
    for percent in (50, 90, 95, 99):
        place = (len(ordered) - 1) * percent / 100
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        assert found[f"p{percent}_us"] == pytest.approx(low + (high - low) * (place - math.floor(place)))


@given(TIMES)
def test_a_histogram_counts_every_time_once_in_ascending_bins(times):
    found = summary_of(times)["histogram"]
    edges, counts = found["edges_us"], found["counts"]

    assert sum(counts) == len(times)
    assert len(edges) == len(counts) + 1
    assert all(low < high for low, high in pairwise(edges))
    assert edges[0] <= min(times)
    assert edges[-1] >= max(times)
    for low, high, count in zip(edges[:-2], edges[1:-1], counts[:-1], strict=True):
        assert count == sum(low <= time < high for time in times)


def test_a_few_late_times_leave_the_others_apart():
    times = [*np.linspace(100, 110, 500), 50_000.0, 90_000.0]

    counts = summary_of(times)["histogram"]["counts"]

    assert counts[-1] >= 2
    assert max(counts) < 100


@given(TIMES)
def test_blocks_cover_the_series_in_order(times):
    found = summary_of(times)["block_medians_us"]

    assert 1 <= len(found) <= BLOCKS
    assert min(times) <= min(found)
    assert max(found) <= max(times)
    rising = summary_of(sorted(times))["block_medians_us"]
    assert rising == sorted(rising)


# -- steadiness


def measured(times, *, window=1.0, within=0.02, limit=1e9):
    """Executions of the given seconds, one after the other, until it is done."""
    rule = Steadiness(window, within, limit)
    now = 0.0
    rule.start(now)
    taken = 0
    for seconds in times:
        now += seconds
        rule.add(seconds * 1e6, now)
        taken += 1
        if rule.done(now):
            break
    rule.finish(now)
    return rule, taken, now


def test_equal_times_are_steady_after_three_windows():
    rule, taken, _ = measured([0.01] * 10_000)

    assert rule.steady
    assert len(rule.windows) == WINDOWS
    assert taken == sum(one["executions"] for one in rule.windows)
    assert rule.to_json()["steady"] is True


def test_a_warm_up_is_waited_for():
    falling = [0.02 * 0.97**number for number in range(100)] + [0.001] * 20_000

    rule, taken, _ = measured(falling, window=0.1)

    assert rule.steady
    last = rule.windows[-WINDOWS:]
    assert all(one["median_us"] == pytest.approx(1000) for one in last)
    assert all(one["first"] >= 80 for one in last)
    assert taken < 20_000


def test_what_never_settles_ends_at_the_limit_and_says_so():
    growing = [0.01 * 1.01**number for number in range(2000)]

    rule, _, now = measured(growing, window=0.1, limit=5)

    assert not rule.steady
    assert 5 <= now < 6


def test_slow_executions_still_make_windows_of_several():
    rule, taken, _ = measured([2.0] * 100, window=0.5)

    assert rule.steady
    assert taken == WINDOWS * LEAST_EXECUTIONS


def test_a_single_execution_longer_than_the_limit_is_a_window():
    rule, taken, _ = measured([100.0] * 5, limit=30)

    assert (taken, rule.steady) == (1, False)
    assert [one["executions"] for one in rule.windows] == [1]


def test_what_ends_after_it_is_done_does_not_count():
    rule, _, now = measured([0.01] * 10_000)
    before = rule.to_json()

    for number in range(1000):
        rule.add(1e9, now + number)

    assert rule.to_json() == before


@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=300),
    st.floats(0.01, 2),
    st.floats(0.001, 0.5),
    st.floats(0.1, 50),
)
def test_windows_never_overlap_and_steady_means_within(times, window, within, limit):
    rule, taken, _ = measured(times, window=window, within=within, limit=limit)

    starts = [(int(one["first"]), int(one["executions"])) for one in rule.windows]
    for (first, count), (following, _) in pairwise(starts):
        assert first + count == following
    assert sum(count for _, count in starts) <= taken
    if rule.steady:
        medians = [one["median_us"] for one in rule.windows[-WINDOWS:]]
        assert max(medians) <= min(medians) * (1 + within)
