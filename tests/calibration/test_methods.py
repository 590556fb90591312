"""From a histogram to amax, each method held against what it is defined as."""

from __future__ import annotations

import numpy as np
import pytest

from trtpipe.calibration.calibrators import METHODS
from trtpipe.calibration.calibrators.measurement.histograms import Histogram
from trtpipe.calibration.calibrators.measurement.methods import amax_of


def histogram_of(values: np.ndarray) -> Histogram:
    made = Histogram()
    made.add(values.astype(np.float32))
    return made


def gaussian(size: int = 200_000) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(size)


def squared_error(values: np.ndarray, amax: float) -> float:
    step = amax / 127
    return float(np.mean((values - np.clip(np.rint(values / step), -127, 127) * step) ** 2))


def test_max_is_the_largest_magnitude():
    assert amax_of(histogram_of(np.array([1.0, -3.5, 2.0])), "max") == 3.5


@pytest.mark.parametrize("percent", [99.0, 99.9, 99.99])
def test_percentile_is_what_the_share_does_not_exceed(percent):
    values = gaussian()

    amax = amax_of(histogram_of(values), "percentile", percentile=percent)

    assert amax == pytest.approx(np.percentile(np.abs(values), percent), rel=2**-6)


def test_mse_is_nearly_the_best_of_all_amax():
    values = gaussian()
    best = min(squared_error(values, amax) for amax in np.linspace(1, np.abs(values).max(), 400))

    assert squared_error(values, amax_of(histogram_of(values), "mse")) <= best * 1.02


def test_entropy_clips_the_tail_of_a_gaussian_and_not_its_body():
    values = gaussian()

    amax = amax_of(histogram_of(values), "entropy")

    assert 2.5 < amax < np.abs(values).max()


def test_entropy_keeps_a_uniform_tensor_whole():
    values = np.random.default_rng(0).uniform(-1, 1, 200_000)

    assert amax_of(histogram_of(values), "entropy") > 0.97


def test_entropy_is_not_led_by_a_few_outliers():
    values = np.concatenate([gaussian(), np.full(20, 40 * 4.0)])

    assert amax_of(histogram_of(values), "entropy") < 20
    assert amax_of(histogram_of(values), "max") == 160


def test_entropy_of_few_values_is_not_led_by_their_gaps():
    values = gaussian(640)

    assert amax_of(histogram_of(values), "entropy") > 0.7 * np.abs(values).max()


@pytest.mark.parametrize("method", METHODS)
def test_a_dead_tensor_has_no_amax(method):
    assert amax_of(histogram_of(np.zeros(100)), method) == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "values", [[5.0], [1e-30], [0.0] * 99999 + [3.0], [2.0] * 1000], ids=["one", "tiny", "sparse", "constant"]
)
def test_odd_tensors_get_a_scale_that_holds_them(method, values):
    amax = amax_of(histogram_of(np.array(values)), method)

    assert 0 <= amax <= np.float32(max(values))
    assert amax > max(values) / 2 or max(values) < 1e-12
