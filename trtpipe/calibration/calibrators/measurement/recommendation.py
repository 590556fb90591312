"""Recommends a method for a data set: the one whose int8 activations change the model's outputs least.

The signal-to-noise ratio of each tensor is reported too, but does not affect the recommendation: a method can be good
for every single tensor and still distort the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from trtpipe.calibration.calibrators import METHODS
from trtpipe.calibration.calibrators.measurement.histograms import Histogram
from trtpipe.calibration.calibrators.measurement.methods import amax_of
from trtpipe.calibration.calibrators.measurement.noise import noise_of

_TIGHTER = 99.9
"""Percent, tried beside the percentile that was asked for: where some samples are out of range it is the better one."""
_WORTH = 0.5  # another method must leave half of the distance to 1, or less, to be recommended
_SAME = 1e-4  # smaller distances count as equal


def decibels_by_method(histograms: Iterable[Histogram], percentile: float) -> dict[str, float]:
    """Method → signal by noise over all tensors, in decibels; empty when all are dead.

    A method's noise is the mean over the tensors of noise power by signal power, because layers' noise adds up.
    """
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


def amax_by_label(histograms: Mapping[str, Histogram], percentile: float) -> dict[str, dict[str, float]]:
    """Every tensor's amax by each method, with the requested percentile and a tighter one."""
    tried = [(method, percentile) for method in METHODS if method != "percentile"]
    tried += [("percentile", share) for share in dict.fromkeys((percentile, _TIGHTER))]
    return {
        label_of(method, share): {
            name: amax_of(one, method, percentile=share) for name, one in histograms.items()
        }
        for method, share in tried
    }


def label_of(method: str, percentile: float) -> str:
    """The displayed name of a method: `entropy`, `percentile 99.9`."""
    return f"percentile {percentile:g}" if method == "percentile" else method


def recommended_method(cosines: Mapping[str, float], used: str) -> str:
    """The label of the method to use: the one that was used, unless another is clearly better; empty if unknown."""
    if used not in cosines:
        return ""
    best = max(cosines, key=lambda label: (cosines[label], label == used))
    distance, least = 1 - cosines[used], 1 - cosines[best]
    return best if distance > _SAME and least <= _WORTH * distance else used
