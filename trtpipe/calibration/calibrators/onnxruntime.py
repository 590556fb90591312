"""ONNX Runtime's own calibrators (onnxruntime.quantization): their amax for the requested tensors.

Symmetric, with ONNX Runtime's numbers of bins. Samples are passed one at a time, because its histograms depend on the
batches and its memory use would grow with the number of samples.
"""

from __future__ import annotations

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.scales import Scales


class OnnxRuntimeCalibrator:
    """MinMax, Percentile and Entropy. Distribution is not offered: it yields no amax, but means and deviations."""

    name = "onnxruntime"
    version = 1
    methods = ("max", "percentile", "entropy")
    packages: tuple[str, ...] = ()
    extra = ""

    def calibrate(self, request: CalibrationRequest) -> Scales:
        """The scales of the request's tensors."""
        from trtpipe.calibration.calibrators.libraries.onnxruntime_quantization import calibrated

        return calibrated(request, self.name)


calibrator = OnnxRuntimeCalibrator()
