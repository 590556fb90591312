"""trtpipe's own calibrator: one pass over the samples, a histogram of magnitudes for each tensor, then the method.

Counts are integers in fixed bins (`measurement.histograms`), so the scales do not depend on how samples are batched,
and an interrupted run continues from its last checkpoint.
"""

from __future__ import annotations

from trtpipe.calibration.calibrators import METHODS, CalibrationRequest
from trtpipe.calibration.scales import Scales


class TrtpipeCalibrator:
    """Histograms in one pass; every method is a function of them."""

    name = "trtpipe"
    version = 2
    methods = METHODS
    packages: tuple[str, ...] = ()
    extra = ""

    def calibrate(self, request: CalibrationRequest) -> Scales:
        """The scales of the request's tensors."""
        from trtpipe.calibration.calibrators.measurement.counts import counted_scales

        return counted_scales(request, self.name)


calibrator = TrtpipeCalibrator()
