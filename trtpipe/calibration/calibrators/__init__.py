"""Calibrators: compute scales from a model and samples. One file per backend, each with a module-level `calibrator`.

`trtpipe` is our own; the others use libraries (each an extra). This module defines what they share: the request with
the model, the tensors, the samples and the method. None depends on precisions, targets or stores.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trtpipe.calibration.scales import Scales
from trtpipe.datasets.locations import Files, GivenFiles, as_files
from trtpipe.spec.dataset import DatasetSpec

METHODS = ("max", "percentile", "entropy", "mse")


@dataclass(frozen=True, slots=True)
class CalibrationRequest:
    """Everything that scales depend on, and where an interrupted run's progress is kept."""

    model: Path
    """The canonical model, in its source's float types."""
    tensors: tuple[str, ...]
    """The activations that need a scale."""
    dataset: DatasetSpec
    files: Mapping[str, Path]
    """The data set's files, by their names in it."""
    method: str
    percentile: float | None
    """For the method percentile: the share of values that is not clipped, in percent."""
    samples: int | None = None
    threads: int = 0
    progress: Path | None = None
    """A file that survives an interrupt; calibrating again goes on from it."""
    resolve: Callable[[str], Path] | None = None
    ranges: tuple[str, ...] = ()
    """Float tensors of which only the largest magnitude is needed: `measurement.ranges` finds it, for every backend."""
    means: Mapping[str, str] = field(default_factory=dict)
    """Tensor of `ranges` that holds means → the tensor of `ranges` that they are of."""
    provider: str = "cpu"
    """Where trtpipe itself runs the model: `cpu` or `cuda`."""
    tell: Callable[[int, int, int], None] | None = None
    """Called with the samples that are done, all of them, and those that an interrupted run had done."""

    @property
    def file(self) -> Files:
        """A look-up of the data set's files by name."""
        return as_files(self.resolve) if self.resolve is not None else GivenFiles(self.files)


class Calibrator(Protocol):
    """The interface of `calibrator` in each module of this package."""

    name: str
    version: int
    """Enters the key; raised when the same samples would give other scales."""
    methods: tuple[str, ...]
    packages: tuple[str, ...]
    """Distributions beside those of the base whose versions can change the scales."""
    extra: str
    """The extra of trtpipe that brings them; empty when they come with trtpipe."""

    def calibrate(self, request: CalibrationRequest) -> Scales:
        """The scales of the request's tensors. Raises ModelError, SpecError (the data set) or StepFailed."""


def calibrator_names() -> tuple[str, ...]:
    """The available backends, by the names of their modules; none is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def find_calibrator(name: str) -> Calibrator | None:
    """The backend of this name; None when there is none."""
    if name not in calibrator_names():
        return None
    found: Calibrator = importlib.import_module(f"{__name__}.{name}").calibrator
    return found
