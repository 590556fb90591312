"""Which method the histograms speak for, and what the report says of a set with samples out of range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.calibration.small_nets import request_for, samples_of
from trtpipe.calibration.calibrators import METHODS, find_calibrator
from trtpipe.calibration.calibrators.measurement.histograms import Histogram
from trtpipe.calibration.calibrators.measurement.methods import amax_of
from trtpipe.calibration.calibrators.measurement.noise import dominated, least_noise, noise_of
from trtpipe.calibration.calibrators.measurement.outputs import cosines_by_method
from trtpipe.calibration.calibrators.measurement.recommendation import decibels_by_method, recommended_method
from trtpipe.calibration.calibrators.measurement.report import report_of
from trtpipe.calibration.scales import Scales, TensorScale, read_scales


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


def test_what_was_used_is_recommended_unless_another_is_clearly_better():
    assert recommended_method({"max": 0.9990, "mse": 0.9994}, "max") == "max"
    assert recommended_method({"max": 0.9990, "mse": 0.9996}, "max") == "mse"
    assert recommended_method({"max": 0.99995, "mse": 1.0}, "max") == "max"
    assert recommended_method({"mse": 0.9, "percentile 99.9": 0.99}, "mse") == "percentile 99.9"
    assert recommended_method({}, "max") == ""


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


def spoilt_samples(factor: float) -> np.ndarray:
    samples = samples_of(40)
    samples[3] *= factor
    return samples


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_the_report_names_the_tensors_and_the_method_that_keeps_the_outputs(tmp_path, method):
    scales = find_calibrator("trtpipe").calibrate(request_for(tmp_path, spoilt_samples(200), method))

    report = report_of(scales)

    assert report["recommended"] == "entropy"
    assert report["compared_on"] == 8
    assert report["counts"]["outliers"] == len(report["outliers"]) > 0
    assert set(report["outliers"]) <= set(scales.tensors)
    assert any(text.startswith("few samples dominate") for text in report["warnings"])
    advised = [
        text for text in report["warnings"] if text.startswith("method: entropy keeps the outputs closer")
    ]
    assert len(advised) == (method != "entropy")


def test_max_says_that_it_cannot_tell_and_the_method_it_names_can(tmp_path):
    spoilt = report_of(
        find_calibrator("trtpipe").calibrate(request_for(tmp_path, spoilt_samples(200), "max"))
    )
    plain = report_of(find_calibrator("trtpipe").calibrate(request_for(tmp_path, samples_of(40), "max")))

    assert (spoilt["recommended"], spoilt["cosines"]) == ("", {})
    assert spoilt["warnings"][-1] == (
        "the best method is unknown: method max collects no histograms, so methods cannot be compared; "
        "use `method: entropy` to compare them"
    )
    assert not any("not known" in text for text in plain["warnings"])


def test_the_cosines_are_those_of_the_outputs_with_rounded_activations(tmp_path):
    request = request_for(tmp_path, samples_of(8))
    advice = find_calibrator("trtpipe").calibrate(request).advice
    session = onnxruntime.InferenceSession(request.model)
    weights = {
        one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(request.model).graph.initializer
    }
    amax = dict.fromkeys(request.tensors, 0.25)

    found, count = cosines_by_method(request, {"coarse": amax, "exact": {}})

    def rounded(value: np.ndarray) -> np.ndarray:
        return (np.clip(np.rint(value / (0.25 / 127)), -128, 127) * (0.25 / 127)).astype(np.float32)

    def convolved(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
        padded = np.pad(value, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return np.einsum("ncyxij,ocij->noyx", windows, weight)

    cosines = []
    for sample in samples_of(8):
        (expected,) = session.run(None, {"x": sample[None]})
        hidden = np.maximum(convolved(rounded(sample[None]), weights["w0"]) + weights["b0"][:, None, None], 0)
        pooled = (convolved(rounded(hidden), weights["w1"]) + hidden).mean(axis=(2, 3))
        made = rounded(pooled) @ weights["w2"]
        cosines.append(float((expected * made).sum() / np.linalg.norm(expected) / np.linalg.norm(made)))
    assert count == 8
    assert found == {"coarse": pytest.approx(np.median(cosines), abs=1e-4), "exact": 1.0}
    assert advice is not None
    assert set(advice.cosines) == {"max", "entropy", "mse", "percentile 99.9"}
    assert min(advice.cosines.values()) > 0.999


def test_a_set_on_which_no_method_works_is_told(tmp_path):
    samples = samples_of(40)
    samples[::3] *= 1e7
    report = report_of(find_calibrator("trtpipe").calibrate(request_for(tmp_path, samples, "mse")))

    assert report["warnings"][-1].startswith("every method distorts the outputs: cosine ")


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


def test_the_advice_is_no_part_of_the_artifact(tmp_path):
    scales = find_calibrator("trtpipe").calibrate(request_for(tmp_path, samples_of(8)))
    scales.write(tmp_path / "scales.json")

    assert scales.advice is not None
    assert set(scales.advice.decibels) == set(METHODS)
    assert read_scales(tmp_path / "scales.json") == replace(scales, advice=None)
    assert "decibels" not in (tmp_path / "scales.json").read_text()
