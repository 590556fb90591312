"""One pass over a data set: a histogram for each tensor, and the scales that a method derives from them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.calibrators.measurement.histograms import Histogram
from trtpipe.calibration.calibrators.measurement.methods import DEFAULT_PERCENTILE, amax_of
from trtpipe.calibration.calibrators.measurement.noise import dominated
from trtpipe.calibration.calibrators.measurement.observers import Observer
from trtpipe.calibration.calibrators.measurement.outputs import cosines_by_method
from trtpipe.calibration.calibrators.measurement.progress import SavedCounts
from trtpipe.calibration.calibrators.measurement.recommendation import (
    amax_by_label,
    decibels_by_method,
    label_of,
    recommended_method,
)
from trtpipe.calibration.scales import Advice, Scales, TensorScale
from trtpipe.datasets.samples.batches import Dataset
from trtpipe.errors import ModelError, SpecError, StepFailed
from trtpipe.problem_codes import Code

_SAVE_SECONDS = 1.0
_SAVING_SHARE = 0.02  # the share of the time that may be spent on writing checkpoints
_TELL_SECONDS = 0.25
_NOT_COUNTED = (
    "method max collects no histograms, so methods cannot be compared; use `method: entropy` to compare them"
)


def counted_scales(request: CalibrationRequest, backend: str) -> Scales:
    """The scales of the request's tensors. Raises ModelError, SpecError or StepFailed."""
    observer = Observer(request)
    with observer.samples() as data:
        histograms = _counted(request, observer, data)
        samples = data.samples
    _refuse_nonfinite(histograms)
    tensors = {name: _scale(histogram, request) for name, histogram in histograms.items()}
    return Scales(tensors, request.method, backend, samples, advice=_advice(histograms, request))


def histograms_of(request: CalibrationRequest) -> dict[str, Histogram]:
    """Each tensor's histogram; histograms of parts of a data set add up exactly to that of the whole."""
    observer = Observer(request)
    with observer.samples() as data:
        return _counted(request, observer, data)


def _counted(request: CalibrationRequest, observer: Observer, data: Dataset) -> dict[str, Histogram]:
    """Every tensor's histogram over all samples."""
    counted = request.method != "max"
    histograms = {name: Histogram() for name in (*observer.fed, *observer.wanted)}
    saved = SavedCounts(request.progress, counted)
    done = saved.read(histograms, most=-(-data.samples // data.batch))
    pace = _Pace(request, data, done)
    for number, values in enumerate(observer.seen(data, done), done + 1):
        for name, array in values.items():
            histograms[name].add(array, counted=counted)
        if pace.save_now():
            began = time.monotonic()
            saved.write(histograms, number)
            pace.saved(time.monotonic() - began)
        pace.tell(number)
    return histograms


class _Pace:
    """Decides when to save the counts and when to report progress."""

    def __init__(self, request: CalibrationRequest, data: Dataset, done: int) -> None:
        self.say, self.batch, self.samples, self.resumed = request.tell, data.batch, data.samples, done
        self.next_save = time.monotonic() + _SAVE_SECONDS
        self.next_tell = 0.0
        self.tell(done)

    def save_now(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() >= self.next_save

    def saved(self, seconds: float) -> None:
        """Sets the time of the next checkpoint: the longer this one took to write, the later the next."""
        self.next_save = time.monotonic() + max(_SAVE_SECONDS, seconds / _SAVING_SHARE)

    def tell(self, number: int) -> None:
        """Says how many samples are done, a few times a second and at the end."""
        done, now = min(number * self.batch, self.samples), time.monotonic()
        if self.say is not None and (now >= self.next_tell or done == self.samples):
            self.next_tell = now + _TELL_SECONDS
            self.say(done, self.samples, self.resumed * self.batch)


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


def _advice(histograms: Mapping[str, Histogram], request: CalibrationRequest) -> Advice:
    """How the methods compare on tensors and outputs; not available for `max`, which makes no histograms."""
    if request.method == "max":
        spoilt = any(dominated(one.largest, one.typical()) for one in histograms.values())
        return Advice("max", unknown=_NOT_COUNTED if spoilt else "")
    percentile = request.percentile or DEFAULT_PERCENTILE
    used = label_of(request.method, percentile)
    decibels = decibels_by_method(histograms.values(), percentile)
    try:
        cosines, samples = cosines_by_method(request, amax_by_label(histograms, percentile))
    except (ModelError, StepFailed) as error:
        return Advice(used, decibels, unknown=f"the outputs were not compared: {error}")
    return Advice(used, decibels, cosines, samples, recommended_method(cosines, used))


def _refuse_nonfinite(histograms: Mapping[str, Histogram]) -> None:
    broken = [name for name, histogram in histograms.items() if histogram.nonfinite]
    if broken:
        shown = ", ".join(f"'{name}'" for name in broken[:3])
        fact = f"tensors of the model become infinite or NaN on the calibration set: {shown}"
        raise SpecError(
            Code.NONFINITE_TENSORS,
            fact,
            "look for unsuitable samples; if there are none, the model itself overflows in float32",
        )
