"""NVIDIA ModelOpt as a calibrator: amax of the tensors that it quantizes to int8.

It places Q and DQ by its own rules: nodes whose tensors it leaves in float stay float here, and are reported by name.
"""

from __future__ import annotations

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.scales import Scales


class ModelOptCalibrator:
    """Runs `modelopt.onnx.quantization.quantize` and takes only the scales from its result."""

    name = "modelopt"
    version = 1
    methods = ("max", "entropy")
    packages = ("nvidia-modelopt",)
    extra = "modelopt"

    def calibrate(self, request: CalibrationRequest) -> Scales:
        """The scales of those of the request's tensors that it quantizes."""
        from trtpipe.calibration.calibrators.libraries.modelopt_quantization import calibrated

        return calibrated(request, self.name)


calibrator = ModelOptCalibrator()
