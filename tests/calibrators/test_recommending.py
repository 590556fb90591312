"""Which method the histograms speak for, and what the report says of a set with samples out of range."""

from __future__ import annotations

import numpy as np
import pytest
from small_nets import request_for, samples_of

from trtpipe.calibrators import METHODS, find_calibrator
from trtpipe.calibrators.measuring.histograms import Histogram
from trtpipe.calibrators.measuring.methods import amax_of
from trtpipe.calibrators.measuring.noise import dominated, least_noise, noise_of
from trtpipe.calibrators.measuring.recommending import decibels_by_method, recommended_method
from trtpipe.calibrators.measuring.reporting import report_of
from trtpipe.scales import Scales, TensorScale, read_scales


def histogram_of(*samples: np.ndarray) -> Histogram:
    made = Histogram()
    for sample in samples:
        made.add(sample.astype(np.float32))
    return made


def gaussian(seed=0, size=100_000):
    return np.random.default_rng(seed).standard_normal(size)


@pytest.mark.parametrize("amax", [1.0, 3.0, 4.5, 40.0])
def test_the_noise_is_that_of_rounding_and_clipping(amax):
    values = gaussian()
    step = amax / 127
    quantized = np.clip(np.rint(values / step), -127, 127) * step
    expected = np.sum((values - quantized) ** 2) / np.sum(values**2)

    assert noise_of(histogram_of(values), amax) == pytest.approx(expected, rel=0.03)


def test_samples_out_of_range_do_not_count():
    plain = histogram_of(*[gaussian(seed) for seed in range(10)])
    spoilt = histogram_of(*[gaussian(seed) for seed in range(10)], 40 * gaussian(11))

    assert not dominated(plain.largest, plain.typical())
    assert dominated(spoilt.largest, spoilt.typical())
    assert noise_of(spoilt, 10.0) == pytest.approx(noise_of(plain, 10.0), rel=0.4)
    assert noise_of(spoilt, spoilt.largest) > 100 * noise_of(spoilt, 10.0)


@pytest.mark.parametrize("outlier", [1, 40])
def test_least_noise_is_nearly_the_best_of_all_amax(outlier):
    made = histogram_of(*[gaussian(seed, 2000) for seed in range(60)], outlier * gaussian(99, 2000))
    best = min(noise_of(made, amax) for amax in np.linspace(0.5, 9, 300))

    assert noise_of(made, least_noise(made)) <= best * 1.02


@pytest.mark.parametrize("method", METHODS)
def test_entropy_is_recommended_for_a_set_with_a_few_samples_out_of_range(method):
    histograms = [histogram_of(*[gaussian(seed) for seed in range(60)], 40 * gaussian(99))]

    assert recommended_method(decibels_by_method(histograms, 99.99), method) == "entropy"


def test_what_was_used_is_recommended_unless_another_is_clearly_better():
    assert recommended_method({"max": 40.0, "mse": 40.9}, "max") == "max"
    assert recommended_method({"max": 40.0, "mse": 41.1}, "max") == "mse"
    assert recommended_method({}, "max") == "max"


def test_dead_tensors_have_no_say():
    dead = histogram_of(np.zeros(10))

    assert noise_of(dead, 0.0) is None
    assert decibels_by_method([dead], 99.99) == {}
    alive = histogram_of(gaussian())
    assert decibels_by_method([dead, alive], 99.99) == decibels_by_method([alive], 99.99)


def test_the_worst_tensor_decides_as_noises_add_up():
    good, bad = histogram_of(gaussian()), histogram_of(np.append(gaussian(1) * 1e-3, 1.0))
    noises = [noise_of(one, amax_of(one, "max")) for one in (good, bad)]

    assert decibels_by_method([good, bad], 99.99)["max"] == pytest.approx(
        -10 * np.log10(np.mean(noises)), abs=0.01
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_report_names_the_tensors_and_the_method(tmp_path, method):
    samples = samples_of(40)
    samples[3] *= 40
    scales = find_calibrator("trtpipe").calibrate(request_for(tmp_path, samples, method))

    report = report_of(scales)

    assert report["recommended"] == "entropy"
    assert report["counts"]["outliers"] == len(report["outliers"]) > 0
    assert set(report["outliers"]) <= set(scales.tensors)
    assert any(text.startswith("few samples dominate") for text in report["warnings"])
    advised = [text for text in report["warnings"] if text.startswith("method: entropy fits")]
    assert len(advised) == (method != "entropy")


def test_the_report_counts_dead_and_clipped_tensors():
    tensors = {
        "dead": TensorScale(0.0, 0.0, 0.0, 10),
        "cut": TensorScale(1.0, 3.0, 2.5, 10, clipped=0.25),
        "whole": TensorScale(3.0, 3.0, 2.5, 10, clipped=0.0),
    }

    report = report_of(Scales(tensors, "entropy", "trtpipe", 4))

    assert report["counts"] == {"dead": 1, "clipped": 1, "outliers": 0}
    assert report["warnings"] == [
        "1 tensor was zero on every sample, 'dead'",
        "1 tensor has values clipped, most of all 'cut' (25.00% of them)",
    ]


def test_the_advice_is_part_of_the_artifact(tmp_path):
    scales = find_calibrator("trtpipe").calibrate(request_for(tmp_path, samples_of(8)))
    scales.write(tmp_path / "scales.json")

    assert set(scales.decibels) == set(METHODS)
    assert read_scales(tmp_path / "scales.json") == scales
