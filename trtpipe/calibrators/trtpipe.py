"""trtpipe's own calibrator: one pass over the samples, a histogram of magnitudes a tensor, then the method.

Counts are integers in bins that no data decide (`histograms`), so scales are the same however the samples are dealt
out. An interrupted run goes on where it last wrote down what it had counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trtpipe.calibrators import METHODS, CalibrationRequest
from trtpipe.calibrators.measuring.histograms import Histogram
from trtpipe.calibrators.measuring.methods import DEFAULT_PERCENTILE, amax_of
from trtpipe.calibrators.measuring.observing import Observer
from trtpipe.errors import SpecError
from trtpipe.scales import Scales, TensorScale

_SAVE_SECONDS = 15.0


class TrtpipeCalibrator:
    """Histograms in one pass; every method is a function of them."""

    name = "trtpipe"
    version = 1
    methods = METHODS
    packages: tuple[str, ...] = ()
    extra = ""

    def calibrate(self, request: CalibrationRequest) -> Scales:
        """The scales of the request's tensors."""
        observer = Observer(request)
        with observer.samples() as data:
            histograms = _counted(request, observer, data)
            samples = data.samples
        _refuse_nonfinite(histograms)
        tensors = {name: _scale(histogram, request) for name, histogram in histograms.items()}
        return Scales(tensors, request.method, self.name, samples)


def _counted(request: CalibrationRequest, observer: Observer, data: Any) -> dict[str, Histogram]:
    """Every tensor's histogram over all samples."""
    maximum = request.method == "max"
    histograms = {name: Histogram() for name in (*observer.fed, *observer.wanted)}
    done = _resumed(request.progress, histograms)

    def observe(name: str, array: Any) -> None:
        histograms[name].add(array, counted=not maximum)

    saved = time.monotonic()
    for number, (inputs, _) in enumerate(data):
        if number < done:
            continue
        observer.feed(inputs, observe)
        if time.monotonic() - saved > _SAVE_SECONDS:
            _save(request.progress, histograms, number + 1)
            saved = time.monotonic()
    return histograms


def _scale(histogram: Histogram, request: CalibrationRequest) -> TensorScale:
    amax = amax_of(histogram, request.method, percentile=request.percentile or DEFAULT_PERCENTILE)
    counted = request.method != "max"
    return TensorScale(
        amax,
        histogram.largest,
        histogram.typical(),
        histogram.values,
        round(histogram.above(amax), 9) if counted else 0.0,
        round(histogram.zeros / max(histogram.values, 1), 9) if counted else None,
    )


def _refuse_nonfinite(histograms: Mapping[str, Histogram]) -> None:
    broken = [name for name, histogram in histograms.items() if histogram.nonfinite]
    if broken:
        shown = ", ".join(f"'{name}'" for name in broken[:3])
        fact = f"tensors of the model become infinite or NaN on the calibration set: {shown}"
        raise SpecError(
            fact, "look for samples out of the model's range, or a model that is broken in float32"
        )


def _save(path: Path | None, histograms: Mapping[str, Histogram], done: int) -> None:
    """What was counted so far; whole or not at all."""
    if path is None:
        return
    arrays = {f"counts:{name}": one.counts for name, one in histograms.items()}
    arrays |= {f"peaks:{name}": one.peaks for name, one in histograms.items()}
    arrays |= {
        f"facts:{name}": np.array([one.zeros, one.nonfinite, one.finite, one.largest], np.float64)
        for name, one in histograms.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, done=np.int64(done), **arrays)
    partial.replace(path)


def _resumed(path: Path | None, histograms: Mapping[str, Histogram]) -> int:
    """How many samples an interrupted run had counted, its counts put into `histograms`; 0 when there is none."""
    if path is None or not path.exists():
        return 0
    try:
        with np.load(path, allow_pickle=False) as saved:
            for name, histogram in histograms.items():
                histogram.counts[:] = saved[f"counts:{name}"]
                histogram.peaks[:] = saved[f"peaks:{name}"]
                zeros, nonfinite, finite, largest = saved[f"facts:{name}"].tolist()
                histogram.zeros, histogram.nonfinite, histogram.finite = (
                    int(zeros),
                    int(nonfinite),
                    int(finite),
                )
                histogram.largest = largest
            return int(saved["done"])
    except (OSError, ValueError, KeyError, EOFError):
        for histogram in histograms.values():
            histogram.clear()
        return 0


calibrator = TrtpipeCalibrator()
