"""Which method a set's histograms speak for: the one that leaves least noise on what most samples hold, in int8.

A method's noise is the mean over the tensors of noise power by signal power, as the noises of layers add up; said in
decibels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from trtpipe.calibrators import METHODS
from trtpipe.calibrators.measuring.histograms import Histogram
from trtpipe.calibrators.measuring.methods import amax_of
from trtpipe.calibrators.measuring.noise import noise_of

_WORTH = 1.0  # decibels by which another method must be better to be recommended


def decibels_by_method(histograms: Iterable[Histogram], percentile: float) -> dict[str, float]:
    """Method → signal by noise over all tensors, in decibels; empty when all are dead."""
    noises: dict[str, list[float]] = {method: [] for method in METHODS}
    for histogram in histograms:
        for method in METHODS:
            noise = noise_of(histogram, amax_of(histogram, method, percentile=percentile))
            if noise is not None:
                noises[method].append(noise)
    return {
        method: round(-10 * math.log10(max(sum(found) / len(found), 1e-30)), 2)
        for method, found in noises.items()
        if found
    }


def recommended_method(decibels: Mapping[str, float], method: str) -> str:
    """The method to use: that which was used, unless another is clearly better."""
    best = max(decibels, key=lambda name: (decibels[name], name == method), default=method)
    return method if decibels.get(best, 0.0) < decibels.get(method, 0.0) + _WORTH else best
