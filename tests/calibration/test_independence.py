"""Scales do not depend on the data set's batch, on how samples are dealt out, on threads, or on the run."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calibration.small_nets import request_for, samples_of
from trtpipe.calibration.calibrators import METHODS, find_calibrator
from trtpipe.calibration.calibrators.measurement.counts import histograms_of
from trtpipe.calibration.calibrators.measurement.histograms import Histogram
from trtpipe.calibration.calibrators.measurement.methods import amax_of

COUNT = 17
SAMPLES = samples_of(COUNT)
SAMPLES[5] *= 40


@pytest.fixture(scope="module")
def whole():
    """Each tensor's histogram over all samples."""
    with tempfile.TemporaryDirectory() as folder:
        return histograms_of(request_for(Path(folder), SAMPLES))


def merged(parts):
    found: dict[str, Histogram] = {}
    for part in parts:
        for name, one in part.items():
            found.setdefault(name, Histogram()).merge(one)
    return found


@settings(max_examples=12)
@given(st.lists(st.integers(0, COUNT), max_size=3), st.permutations(range(COUNT)), st.integers(1, 6))
def test_any_shards_in_any_order_and_batch_give_the_same_scales(whole, cuts, order, batch):
    edges = sorted({0, COUNT, *cuts})
    with tempfile.TemporaryDirectory() as folder:
        shards = [SAMPLES[list(order[a:b])] for a, b in pairwise(edges)]
        parts = [histograms_of(request_for(Path(folder), one, data={"batch": batch})) for one in shards]

    found = merged(parts)

    assert found.keys() == whole.keys()
    for name, one in found.items():
        assert (one.counts == whole[name].counts).all()
        assert (one.peaks == whole[name].peaks).all()
        for method in METHODS:
            assert amax_of(one, method) == amax_of(whole[name], method)


@pytest.mark.parametrize("method", METHODS)
def test_batches_threads_and_runs_give_the_same_bytes(tmp_path, method):
    calibrator = find_calibrator("trtpipe")
    written = set()
    for number, (batch, threads) in enumerate([(1, 1), (1, 2), (4, 3), (17, 0), (1, 1)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        request = request_for(folder, SAMPLES, method, data={"batch": batch}, threads=threads)
        calibrator.calibrate(request).write(folder / "scales.json")
        written.add((folder / "scales.json").read_bytes())

    assert len(written) == 1


def test_shuffling_changes_nothing_but_the_order(tmp_path):
    calibrator = find_calibrator("trtpipe")
    plain = request_for(tmp_path, SAMPLES)
    shuffled = replace(plain, dataset=plain.dataset.model_copy(update={"shuffle": True, "seed": 3}))

    assert calibrator.calibrate(shuffled) == calibrator.calibrate(plain)


def test_fewer_samples_are_fewer(tmp_path):
    request = replace(request_for(tmp_path, SAMPLES, "max"), samples=5)

    scales = find_calibrator("trtpipe").calibrate(request)

    assert scales.samples == 5
    assert scales.tensors["x"].amax == np.abs(SAMPLES[:5]).max()
