"""Which method a tensor's histogram speaks for: the noise that each would leave on what most samples hold, in int8.

A few samples out of range must not decide. Where the largest magnitude is many times what most samples reach, only
values up to twice that are looked at: what a method's amax does to those is what counts. Below amax the noise is that
of uniform rounding, step^2 / 12 (the value itself where it rounds to zero); above it, what is clipped. A method's noise
is the mean over the tensors of noise power by signal power, as the noises of layers add up; said in decibels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from trtpipe.calibrators import METHODS
from trtpipe.calibrators.measuring.histograms import Histogram, bin_edges
from trtpipe.calibrators.measuring.methods import amax_of

OUTLIERS = 8.0
"""A tensor whose largest magnitude is more than this many times the typical one is dominated by few samples."""

_ROOM = 2.0  # typical is a median: half of the samples reach further
_WORTH = 1.0  # decibels by which another method must be better to be recommended

Array = Any


def dominated(largest: float | None, typical: float | None) -> bool:
    """Whether few samples decide a tensor's largest magnitude."""
    return bool(largest and typical) and (largest or 0) > OUTLIERS * (typical or 0)


def noise_of(histogram: Histogram, amax: float, levels: int = 127) -> float | None:
    """Noise power by signal power of a tensor that is quantized with this amax; None for one that is dead."""
    edges = bin_edges()
    used = np.flatnonzero(histogram.counts)
    if dominated(histogram.largest, histogram.typical()):
        used = used[edges[used] <= _ROOM * histogram.typical()]
    counts = histogram.counts[used].astype(np.float64)
    centres = np.minimum((edges[used] + edges[used + 1]) / 2, histogram.largest)
    signal = float(counts @ centres**2)
    if not signal:
        return None
    step = amax / levels
    rounded = np.where(centres < step / 2, centres**2, step**2 / 12)
    noise = np.where(centres <= amax, rounded, (centres - amax) ** 2)
    return float(counts @ noise) / signal


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
