"""trtpipe's own calibrator: one pass over the samples, a histogram of magnitudes a tensor, then the method.

Counts are integers in bins that no data decide (`measuring.histograms`), so scales are the same however the samples are
dealt out, and an interrupted run goes on where it last wrote down what it had counted.
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
