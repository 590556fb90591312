"""How errors are spread: every error is counted once, and the picked pairs depend on positions alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trtpipe.metrics.metrics import Accumulator, metrics_from_json
from trtpipe.metrics.spread import BINS, PAIRS, Spread

RNG = np.random.default_rng(0)
REFERENCE = RNG.standard_normal((3000, 7)).astype(np.float32)
ACTUAL = REFERENCE + RNG.standard_normal((3000, 7)).astype(np.float32) * np.float32(1e-3)


def spread_of(*batches):
    accumulator = Accumulator(spread=Spread())
    for reference, actual in batches:
        accumulator.add(reference, actual)
    return accumulator.result()


def test_every_error_is_in_the_bin_that_holds_it():
    metrics = spread_of((REFERENCE, ACTUAL))
    edges, counts = metrics.spread["errors"]["edges"], metrics.spread["errors"]["counts"]
    errors = np.abs(ACTUAL.astype(np.float64) - REFERENCE.astype(np.float64)).reshape(-1)

    assert edges == sorted(edges) and edges[0] == 0
    assert len(edges) == len(counts) + 1
    assert counts == np.histogram(errors, edges)[0].tolist()
    assert edges[-1] / 2 <= metrics.values["max_abs"] < edges[-1]


def test_batches_change_nothing():
    whole = spread_of((REFERENCE, ACTUAL)).spread
    parts = spread_of(*((REFERENCE[i : i + 17], ACTUAL[i : i + 17]) for i in range(0, 3000, 17))).spread

    assert parts == whole


def test_pairs_are_few_and_from_everywhere():
    scatter = np.array(spread_of((np.arange(64_000.0), np.arange(64_000.0) + 1)).spread["scatter"])

    assert scatter.shape == (PAIRS, 2)
    assert set(np.round(scatter[:, 1] - scatter[:, 0])) == {1.0}
    assert np.histogram(scatter[:, 0], 10, (0, 64_000))[0].min() >= PAIRS // 20
    assert len(set((scatter[:, 0] % 64).astype(int))) > 40, "in step with an axis of 64"


def test_errors_of_any_size_take_a_bounded_number_of_bins():
    errors = np.ldexp(1.0, np.arange(-1000, 1000, 10))

    spread = Spread()
    spread.add(np.arange(200), np.zeros(200), errors, errors)
    found = spread.as_json()["errors"]

    assert len(found["counts"]) == BINS
    assert sum(found["counts"]) == 200
    assert all(np.isfinite(found["edges"]))


@pytest.mark.parametrize(
    ("reference", "actual", "counts"),
    [([1.0, 2.0], [1.0, 2.0], [2]), ([], [], []), ([np.nan, 1.0], [0.0, 1.0], [1]), ([np.inf], [1.0], [])],
)
def test_no_error_and_nothing_finite(reference, actual, counts):
    found = spread_of((np.array(reference), np.array(actual))).spread

    assert found["errors"]["counts"] == counts
    json.dumps(found, allow_nan=False)


def test_a_report_can_still_be_read_and_one_without_is_as_before():
    with_spread = spread_of((REFERENCE, ACTUAL)).as_json()
    plain = Accumulator()
    plain.add(REFERENCE, ACTUAL)

    assert metrics_from_json(with_spread) == metrics_from_json(plain.result().as_json())
    assert "errors" not in plain.result().as_json()


def test_what_is_not_finite_moves_no_other_pair_to_another_place():
    reference = np.arange(1000.0)
    chosen = spread_of((reference, reference + 1)).spread["scatter"]
    left_out = next(index for index in range(1000) if [index, index + 1] not in chosen)
    actual = reference + 1
    actual[left_out] = np.nan

    assert spread_of((reference, actual)).spread["scatter"] == chosen
