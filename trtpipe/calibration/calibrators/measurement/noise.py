"""The quantization noise that an amax causes on typical samples, computed from a tensor's histogram.

A few outlier samples must not dominate. Where the largest magnitude is many times what most samples reach, only values
up to twice what most samples reach are considered. Below amax the noise is that of uniform rounding, step^2 / 12 (the
value itself where it rounds to zero); above it, what is clipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trtpipe.calibration.calibrators.measurement.histograms import Histogram, bin_edges

if TYPE_CHECKING:
    from trtpipe.arrays import Array

OUTLIERS = 8.0
"""A tensor whose largest magnitude is more than this many times the typical one is dominated by few samples."""

_ROOM = 2.0  # typical is a median: half of the samples reach further

_CANDIDATES = 192
_LEAST_SHARE = 1 / 64


def dominated(largest: float | None, typical: float | None) -> bool:
    """Whether a few samples determine a tensor's largest magnitude."""
    return bool(largest and typical) and (largest or 0) > OUTLIERS * (typical or 0)


def noise_of(histogram: Histogram, amax: float, levels: int = 127) -> float | None:
    """Noise power over signal power of a tensor quantized with this amax; None for a tensor of zeros."""
    counts, centres = values_of_most(histogram)
    signal = float(counts @ centres**2)
    return _noise(counts, centres, amax, levels) / signal if signal else None


def least_noise(histogram: Histogram, levels: int = 127) -> float:
    """The amax with the least noise of those tried. Raises ValueError for a tensor of zeros."""
    counts, centres = values_of_most(histogram)
    candidates = centres.max() * np.linspace(_LEAST_SHARE, 1, _CANDIDATES)
    noises = [_noise(counts, centres, amax, levels) for amax in candidates]
    return float(candidates[int(np.argmin(noises))])


def values_of_most(histogram: Histogram) -> tuple[Array, Array]:
    """The counts per magnitude, without magnitudes that only outlier samples reach."""
    edges = bin_edges()
    used = np.flatnonzero(histogram.counts)
    if dominated(histogram.largest, histogram.typical()):
        used = used[edges[used] <= _ROOM * histogram.typical()]
    centres = np.minimum((edges[used] + edges[used + 1]) / 2, histogram.largest)
    return histogram.counts[used].astype(np.float64), centres


def _noise(counts: Array, centres: Array, amax: float, levels: int) -> float:
    step = amax / levels
    rounded = np.where(centres < step / 2, centres**2, step**2 / 12)
    return float(counts @ np.where(centres <= amax, rounded, (centres - amax) ** 2))
