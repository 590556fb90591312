"""Histograms: exact, whatever the order, the batch or the shard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trtpipe.calibration.calibrators.measurement.histograms import Histogram, bin_edges

FLOATS = arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e6, 1e6, width=32))


def histogram_of(*parts: np.ndarray) -> Histogram:
    made = Histogram()
    for part in parts:
        made.add(part)
    return made


@given(FLOATS, st.integers(0, 300))
def test_parts_add_up_to_the_whole(values, cut):
    whole, parts = histogram_of(values), histogram_of(values[cut:], values[:cut])

    assert (whole.counts == parts.counts).all()
    assert (whole.zeros, whole.largest, whole.values) == (parts.zeros, parts.largest, parts.values)


@given(FLOATS)
def test_every_value_lies_in_its_bin(values):
    made = histogram_of(values)
    magnitude = np.abs(values.astype(np.float64))
    expected, _ = np.histogram(magnitude, bin_edges())

    assert (made.counts == expected).all()
    assert made.zeros == int((magnitude < bin_edges()[0]).sum())
    assert made.largest == magnitude.max()


def test_shards_merge():
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    merged = histogram_of(values[:300])
    merged.merge(histogram_of(values[300:]))

    assert (merged.counts == histogram_of(values).counts).all()
    assert merged.values == 1000


def test_infinities_and_nan_are_counted_apart():
    made = histogram_of(np.array([1, np.inf, -np.inf, np.nan, 2], np.float32))

    assert (made.nonfinite, made.values, made.largest) == (3, 2, 2.0)
    assert made.counts.sum() == 2


def test_the_share_above_a_threshold():
    made = histogram_of(np.array([0] * 90 + [1] * 9 + [100], np.float32))

    assert made.above(50) == pytest.approx(0.01)
    assert made.above(100) == 0


def test_what_most_samples_reach_is_not_moved_by_one():
    made = histogram_of(*[np.array([1, 4], np.float32)] * 9, np.array([160], np.float32))

    assert made.typical() == 4
    assert made.largest == 160
