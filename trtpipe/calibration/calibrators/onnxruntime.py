"""ONNX Runtime's own calibrators (onnxruntime.quantization): their amax for the tensors that are asked for.

Symmetric, with ONNX Runtime's numbers of bins. Samples are given one at a time: its histograms depend on what is given
together, and memory would grow with the number of samples.
"""

from __future__ import annotations

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.scales import Scales


class OnnxRuntimeCalibrator:
    """MinMax, Percentile and Entropy; Distribution makes scales of means and deviations, and has no amax."""

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
