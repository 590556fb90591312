"""Summarises a series of latencies: percentiles, a histogram, and block statistics from which its noise is estimated.

Times are microseconds. Percentiles interpolate linearly between order statistics (Hyndman and Fan's definition 7,
NumPy's own). Independent of what was timed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PERCENTILES = (50, 90, 95, 99)
"""Those that a Summary has."""
BINS = 40
BLOCKS = 32
"""How many blocks in time a series is cut into, at most."""
LEAST_IN_BLOCK = 4


class Histogram(TypedDict):
    """n + 1 edges, ascending, and n counts."""

    edges_us: list[float]
    counts: list[int]


class Blocks(TypedDict):
    """The parts of a summary that are used to compare two series."""

    p50_us: float
    block_medians_us: list[float]


class Summary(Blocks):
    """A series in a few numbers, as bench.json has it."""

    mean_us: float
    min_us: float
    max_us: float
    p90_us: float
    p95_us: float
    p99_us: float
    count: int
    histogram: Histogram


def summary_of(times: ArrayLike) -> Summary:
    """Mean, ends, percentiles, count, histogram and block medians of a series, in the order in which it was timed."""
    series = np.asarray(times, np.float64)
    assert series.ndim == 1 and series.size, "a series has at least one time"
    p50, p90, p95, p99 = (float(one) for one in np.percentile(series, PERCENTILES))
    return {
        "mean_us": float(series.mean()),
        "min_us": float(series.min()),
        "max_us": float(series.max()),
        "p50_us": p50,
        "p90_us": p90,
        "p95_us": p95,
        "p99_us": p99,
        "count": int(series.size),
        "histogram": histogram_of(series),
        "block_medians_us": block_medians(series),
    }


def histogram_of(series: NDArray[np.float64]) -> Histogram:
    """`edges_us` (n + 1, ascending) and `counts` (n, all times counted).

    The bins are equally wide up to where few times lie above: the 99.5th percentile, or six interquartile ranges above
    the third quartile if that is less. What lies above is one last bin: otherwise a few late times would put all others
    into one.
    """
    least, most = float(series.min()), float(series.max())
    if most <= least:
        return {"edges_us": [least, float(np.nextafter(least, np.inf))], "counts": [int(series.size)]}
    first, third, late = (float(one) for one in np.percentile(series, (25, 75, 99.5)))
    top = min(late, third + 6 * (third - first))
    edges = np.unique(np.linspace(least, top if top > least else most, min(BINS, series.size) + 1))
    if edges[-1] < most:
        edges = np.append(edges, most)
    counts, _ = np.histogram(series, edges)
    return {"edges_us": [float(one) for one in edges], "counts": [int(one) for one in counts]}


def block_medians(series: NDArray[np.float64]) -> list[float]:
    """The medians of up to BLOCKS stretches of the series, each of LEAST_IN_BLOCK times or more if there are so many.

    Neighbouring times are correlated (clocks, temperature), so single times understate the noise; blocks do so less.
    """
    count = max(1, min(BLOCKS, series.size // LEAST_IN_BLOCK))
    return [float(np.median(block)) for block in np.array_split(series, count)]
