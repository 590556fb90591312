"""Runs onnxruntime.quantization's calibrators on exactly the tensors that need scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.calibrators.libraries.feeds import library_errors, samples_of, scales_of
from trtpipe.calibration.scales import Scales
from trtpipe.files import temporary_folder
from trtpipe.runners.cpu.graphs import runnable_model

if TYPE_CHECKING:
    import onnx
    from onnxruntime.quantization.calibrate import CalibraterBase

    from trtpipe.arrays import Array

# bytes of weights; from here on they are kept in a file of their own, because protobuf ends at 2 GiB
_LARGE = 1 << 30


def calibrated(request: CalibrationRequest, backend: str) -> Scales:
    """The scales of the request's tensors. Raises SpecError (the data set) or StepFailed."""
    with (
        samples_of(request) as samples,
        temporary_folder("calibrate") as folder,
        library_errors("ONNX Runtime"),
    ):
        calibrator = _calibrator(request, Path(folder) / "augmented.onnx")
        calibrator.augment_graph()
        calibrator.create_inference_session()
        for inputs in samples:
            calibrator.collect_data(_One(inputs))
        ranges = calibrator.compute_data()
        amax = {name: _largest(ranges[name].range_value) for name in ranges.keys()}  # noqa: SIM118 - no mapping
        del calibrator
    return scales_of(amax, request, backend, samples.data.samples)


class _One:
    """A reader of exactly one sample."""

    def __init__(self, inputs: Mapping[str, Array]) -> None:
        self.left: Iterator[Mapping[str, Array]] = iter([inputs])

    def get_next(self) -> Mapping[str, Array] | None:
        """The sample, then None."""
        return next(self.left, None)


def _largest(found: tuple[Array, Array]) -> float:
    return float(max(np.abs(np.asarray(value, np.float64)).max() for value in found))


def _calibrator(request: CalibrationRequest, augmented: Path) -> CalibraterBase:
    """A calibrator of ONNX Runtime with its own defaults that observes the request's tensors."""
    from onnxruntime.quantization import calibrate

    kinds: dict[str, tuple[type[CalibraterBase], dict[str, float | None]]] = {
        "max": (calibrate.MinMaxCalibrater, {}),
        "entropy": (calibrate.EntropyCalibrater, {}),
        "percentile": (calibrate.PercentileCalibrater, {"percentile": request.percentile}),
    }
    kind, options = kinds[request.method]
    wanted = frozenset(request.tensors)

    class Chosen(kind):  # type: ignore[misc, valid-type]
        def select_tensors_to_calibrate(self, model: onnx.ModelProto) -> tuple[set[str], object]:
            tensors, infos = super().select_tensors_to_calibrate(model)
            return tensors & wanted, infos

    large = runnable_model(request.model).external_bytes() >= _LARGE
    return Chosen(
        request.model, None, str(augmented), symmetric=True, use_external_data_format=large, **options
    )
