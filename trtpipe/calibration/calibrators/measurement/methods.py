"""Calibration methods: choose from a histogram the largest magnitude that the quantized tensor represents (`amax`).

    max         the largest magnitude that was seen
    percentile  the magnitude that the given share of the values does not exceed
    entropy     the amax whose 8-bit histogram diverges least from the tensor's own, after Kullback and Leibler; the
                search over 2048 linear bins and 128 levels that NVIDIA described at GTC 2017 ("8-bit Inference with
                TensorRT", Migacz). Fewer than 16 values a bin do not show a shape: then the amax with the
                least noise on the values of most samples (`noise`)
    mse         the amax that makes the mean squared error of rounding and clipping least

All depend on the histogram alone, so their cost does not grow with the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.calibration.calibrators.measurement.histograms import Histogram, bin_edges
from trtpipe.calibration.calibrators.measurement.noise import least_noise
from trtpipe.spec.variant import VariantSpec

if TYPE_CHECKING:
    from trtpipe.arrays import Array


DEFAULT_PERCENTILE = VariantSpec().percentile
"""Also what the percentile method is judged by where another one was asked for."""
_LINEAR_BINS = 2048
_LEVELS = 128
_ENOUGH = 16
_STRIDE = 16  # every sixteenth of the linear bins is tried as amax
_CANDIDATES = 192
_LEAST_SHARE = 1 / 64  # no amax below this share of the largest magnitude is tried


def amax_of(
    histogram: Histogram, method: str, *, percentile: float = DEFAULT_PERCENTILE, levels: int = 127
) -> float:
    """The amax of a method; 0 for a tensor that was always zero. `levels` is the largest quantized magnitude."""
    if not histogram.counts.any() and method != "max":
        return 0.0
    asked = method, percentile if method == "percentile" else 0.0, levels
    if asked not in histogram.chosen:
        histogram.chosen[asked] = METHODS[method](histogram, percentile, levels)
    return histogram.chosen[asked]


def _max(histogram: Histogram, percentile: float, levels: int) -> float:
    return histogram.largest


def _percentile(histogram: Histogram, percentile: float, levels: int) -> float:
    reached = histogram.zeros + np.cumsum(histogram.counts)
    wanted = histogram.values * (percentile / 100)
    index = int(np.searchsorted(reached, wanted, side="left"))
    # almost everything is zero: the few other values must not be clipped to zero as well
    if histogram.zeros >= wanted:
        index = int(np.flatnonzero(histogram.counts)[-1])
    return min(float(bin_edges()[min(index, histogram.counts.size - 1) + 1]), histogram.largest)


def _mse(histogram: Histogram, percentile: float, levels: int) -> float:
    edges = bin_edges()
    used = np.flatnonzero(histogram.counts)
    counts = histogram.counts[used].astype(np.float64)
    centres = np.minimum((edges[used] + edges[used + 1]) / 2, histogram.largest)
    candidates = histogram.largest * np.linspace(_LEAST_SHARE, 1, _CANDIDATES)
    errors = [_squared_error(centres, counts, amax, levels) for amax in candidates]
    return float(candidates[int(np.argmin(errors))])


def _squared_error(centres: Array, counts: Array, amax: float, levels: int) -> float:
    step = amax / levels
    rounded = np.minimum(np.rint(centres / step), levels) * step
    return float(np.dot(counts, (centres - rounded) ** 2))


def _entropy(histogram: Histogram, percentile: float, levels: int) -> float:
    if histogram.values < _ENOUGH * _LINEAR_BINS and histogram.counts.any():
        return min(least_noise(histogram, levels), histogram.largest)
    counts = _linear(histogram)
    width = histogram.largest / _LINEAR_BINS
    counts[0] = counts[1]  # values about zero are exact at every amax and would drown the others
    tried = range(_LEVELS, _LINEAR_BINS + 1, _STRIDE)
    divergences = [_divergence(counts, bins) for bins in tried]
    return float((tried[int(np.argmin(divergences))] - 0.5) * width)


def _linear(histogram: Histogram) -> Array:
    """The counts in equal bins up to the largest magnitude; each source bin is spread evenly over them."""
    edges = np.minimum(bin_edges(), histogram.largest)
    reached = np.concatenate([[0.0], np.cumsum(histogram.counts, dtype=np.float64)])
    wanted = np.linspace(0, histogram.largest, _LINEAR_BINS + 1)
    kept = np.concatenate([[True], np.diff(edges) > 0])
    last = reached[-1]
    spread: Array = np.diff(np.interp(wanted, edges[kept], reached[kept], left=0.0, right=last))
    spread[-1] += last - np.interp(histogram.largest, edges[kept], reached[kept])
    return spread


def _divergence(counts: Array, bins: int) -> float:
    """The divergence of the first bins, with the rest clipped into the last, from their _LEVELS-level version."""
    kept = counts[:bins]
    reference = kept.copy()
    reference[-1] += counts[bins:].sum()
    starts = (np.arange(_LEVELS) * bins) // _LEVELS
    present = kept > 0
    sums = np.add.reduceat(kept, starts)
    sizes = np.add.reduceat(present.astype(np.float64), starts)
    level = np.repeat(sums / np.maximum(sizes, 1), np.diff(np.append(starts, bins)))
    quantized = np.where(present, level, 0.0)
    both = (reference > 0) & (quantized > 0)
    if not both.any() or quantized.sum() == 0:
        return float("inf")
    p, q = reference / reference.sum(), quantized / quantized.sum()
    missed = p[(p > 0) & ~both].sum()  # values in bins that the quantized tensor cannot represent
    return float(np.sum(p[both] * np.log(p[both] / q[both])) + missed)


METHODS: Mapping[str, Callable[[Histogram, float, int], float]] = {
    "max": _max,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}
