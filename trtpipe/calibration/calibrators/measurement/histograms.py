"""Histograms of magnitudes with fixed bins: one pass, and the same counts in any order or batch size.

A bin is the exponent and the upper seven bits of the mantissa of an IEEE 754 binary32, so the relative distance of two
edges is at most 2^-7. Magnitudes below 2^-40 count as zero, those of 2^40 and more fall into the last bin. Counts are
integers, so the histograms of parts add up exactly to the histogram of the whole.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_MANTISSA_BITS = 7
_SHIFT = 23 - _MANTISSA_BITS
_LOWEST, _HIGHEST = -40, 40
_FIRST = (_LOWEST + 127) << _MANTISSA_BITS
BINS = (_HIGHEST - _LOWEST) << _MANTISSA_BITS
_PATTERNS = 1 << (8 + _MANTISSA_BITS)  # the bins of all exponents, including those of infinities and NaN
_INFINITE = 255 << _MANTISSA_BITS
_PEAK_SHIFT = 20  # leaves three bits of the mantissa
_PEAK_BINS = 256 << 3
_UPPER_HALF = 1 if sys.byteorder == "little" else 0
_PIECE = 1 << 18  # elements at a time: they and their bin numbers fit a processor's cache


def bin_edges() -> Array:
    """BINS + 1 float64 magnitudes: bin i holds [edge i, edge i + 1)."""
    bits = (np.arange(BINS + 1, dtype=np.uint32) + np.uint32(_FIRST)) << np.uint32(_SHIFT)
    edges: Array = bits.view(np.float32).astype(np.float64)
    return edges


@dataclass
class Histogram:
    """One tensor's values: counts of magnitudes in BINS bins, zeros, infinities and NaN, and the largest."""

    counts: Array = field(default_factory=lambda: np.zeros(BINS, np.int64))
    zeros: int = 0
    nonfinite: int = 0
    finite: int = 0
    largest: float = 0.0
    peaks: Array = field(default_factory=lambda: np.zeros(_PEAK_BINS, np.int64))
    """How many arrays had their largest magnitude in which bin, of eight an octave."""
    chosen: dict[tuple[str, float, int], float] = field(default_factory=dict)
    """What the methods chose from these counts: scales, their noise and the outputs all ask for it."""

    @property
    def values(self) -> int:
        """How many finite values were seen."""
        return self.finite

    def add(self, array: Array, *, counted: bool = True) -> None:
        """Counts the values of a float array; unless `counted`, only the largest magnitude is kept."""
        flat = np.ascontiguousarray(array, dtype=np.float32).reshape(-1)
        self.chosen.clear()
        peak = 0.0
        signed = np.zeros(2 * _PATTERNS if counted else 0, np.int64)
        for start in range(0, flat.size, _PIECE):
            piece = flat[start : start + _PIECE]
            peak = max(peak, self._look(piece))
            if counted:
                _count(piece, signed)
        if counted:
            self._take(signed[:_PATTERNS] + signed[_PATTERNS:])
        self.largest = max(self.largest, peak)
        self.peaks[_peak_bin(peak)] += 1

    def typical(self) -> float:
        """The median over the arrays of their largest magnitude, to an eighth of an octave."""
        reached = np.cumsum(self.peaks)
        index = int(np.searchsorted(reached, (reached[-1] + 1) // 2))
        return _peak_of(index)

    def _look(self, piece: Array) -> float:
        """The largest finite magnitude."""
        if not piece.size:
            return 0.0
        largest = max(float(piece.max()), -float(piece.min()))
        if not np.isfinite(largest):
            finite = piece[np.isfinite(piece)]
            self.nonfinite += piece.size - finite.size
            return self._look(finite)
        self.finite += piece.size
        return largest

    def _take(self, counts: Array) -> None:
        """Adds the counts of all patterns of exponent and upper mantissa."""
        self.zeros += int(counts[:_FIRST].sum())
        self.counts += counts[_FIRST : _FIRST + BINS]
        self.counts[-1] += int(counts[_FIRST + BINS : _INFINITE].sum())

    def merge(self, other: Histogram) -> None:
        """Adds the counts of another histogram."""
        self.chosen.clear()
        self.counts += other.counts
        self.zeros += other.zeros
        self.nonfinite += other.nonfinite
        self.finite += other.finite
        self.peaks += other.peaks
        self.largest = max(self.largest, other.largest)

    def above(self, threshold: float) -> float:
        """The share of values whose magnitude is above `threshold`, to the width of a bin."""
        inside = int(np.searchsorted(bin_edges(), threshold, side="right"))
        return float(self.counts[inside:].sum() / max(self.values, 1))


class _Room(threading.local):
    """Where bin numbers are written as bincount wants them: it converts others, to memory that is new each time."""

    def __init__(self) -> None:
        self.numbers = np.empty(_PIECE, np.intp)


_room = _Room()


def _count(piece: Array, signed: Array) -> None:
    """Adds how often each pattern of sign, exponent and upper mantissa occurs."""
    numbers = _room.numbers[: piece.size]
    np.copyto(numbers, piece.view(np.uint16)[_UPPER_HALF::2])
    counts = np.bincount(numbers)
    signed[: counts.size] += counts


def _peak_bin(peak: float) -> int:
    return int(np.float32(peak).view(np.uint32) >> np.uint32(_PEAK_SHIFT))


def _peak_of(index: int) -> float:
    return float((np.uint32(index) << np.uint32(_PEAK_SHIFT)).view(np.float32))
