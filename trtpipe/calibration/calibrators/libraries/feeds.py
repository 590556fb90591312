"""Shared by the library calibrators: a data set as the sample reader that they expect, and scales from their amax."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.scales import Scales, TensorScale
from trtpipe.canonical.summary import summarize
from trtpipe.datasets.samples.batches import Dataset, open_dataset
from trtpipe.errors import SpecError, StepFailed, TrtpipeError
from trtpipe.problem_codes import Code
from trtpipe.runners.cpu.graphs import runnable_model

if TYPE_CHECKING:
    from trtpipe.arrays import Array


class Samples:
    """A data set with the interface of `onnxruntime.quantization.CalibrationDataReader`; reports its progress."""

    def __init__(self, data: Dataset, request: CalibrationRequest) -> None:
        self.data, self.request = data, request
        self.rewind()

    def rewind(self) -> None:
        """Begins again."""
        self.left, self.done = iter(self.data), 0

    def __iter__(self) -> Samples:
        return self

    def __next__(self) -> dict[str, Array]:
        inputs, _ = next(self.left)
        self.done = min(self.done + self.data.batch, self.data.samples)
        if self.request.tell is not None:
            self.request.tell(self.done, self.data.samples, 0)
        return inputs

    def get_next(self) -> dict[str, Array] | None:
        """The next sample's inputs; None after the last."""
        return next(self, None)

    def get_first(self) -> dict[str, Array]:
        """The first sample's inputs; `get_next` then begins with the first one again."""
        inputs, _ = next(iter(self.data))
        return inputs


@contextmanager
def samples_of(request: CalibrationRequest) -> Iterator[Samples]:
    """The request's data set, a sample at a time. Raises SpecError."""
    inputs = summarize(runnable_model(request.model).proto).inputs
    single = request.dataset.model_copy(update={"batch": 1})
    with open_dataset(single, request.file, inputs, samples=request.samples) as data:
        yield Samples(data, request)


@contextmanager
def library_errors(library: str) -> Iterator[None]:
    """Turns a library's exceptions into one error that names the library; trtpipe's own errors pass unchanged."""
    try:
        with warnings.catch_warnings():
            # libraries warn about NaN and the like, which is checked in their amax afterwards
            warnings.simplefilter("ignore")
            yield
    except (TrtpipeError, MemoryError):
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise StepFailed(
            Code.CALIBRATION_FAILED, f"{library} could not calibrate: {text}", "try backend: trtpipe"
        ) from error


def scales_of(amax: Mapping[str, float], request: CalibrationRequest, backend: str, samples: int) -> Scales:
    """The amax of the request's tensors as scales. Raises SpecError when one is infinite or NaN, StepFailed when
    one is missing."""
    found = {name: float(amax[name]) for name in request.tensors if name in amax}
    if not found:
        fact = f"{backend} found no scale for any of the {len(request.tensors)} tensors that need one"
        raise StepFailed(Code.CALIBRATION_FAILED, fact, "try backend: trtpipe")
    broken = [name for name, value in found.items() if not np.isfinite(value)]
    if broken:
        shown = ", ".join(f"'{name}'" for name in broken[:3])
        raise SpecError(
            Code.NONFINITE_TENSORS,
            f"tensors of the model become infinite or NaN on the calibration set: {shown}",
            "look for unsuitable samples; if there are none, the model itself overflows in float32",
        )
    return Scales(
        {name: TensorScale(value) for name, value in found.items()}, request.method, backend, samples
    )
