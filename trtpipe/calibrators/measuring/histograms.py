"""Histograms of magnitudes, in bins whose edges no data decide: one pass, and any order or batch gives the same counts.

A bin is the exponent and the upper seven bits of the mantissa of an IEEE 754 binary32, so edges are at most 2^-7 apart
in relation. Magnitudes below 2^-40 count as zero, those of 2^40 and more fall into the last bin. Counts are integers,
so histograms of parts add up to that of the whole, exactly.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_MANTISSA_BITS = 7
_SHIFT = 23 - _MANTISSA_BITS
_LOWEST, _HIGHEST = -40, 40
_FIRST = (_LOWEST + 127) << _MANTISSA_BITS
BINS = (_HIGHEST - _LOWEST) << _MANTISSA_BITS
_PATTERNS = 1 << (8 + _MANTISSA_BITS)  # bins of all exponents, those of infinities and NaN among them
_INFINITE = 255 << _MANTISSA_BITS
_UPPER_HALF = 1 if sys.byteorder == "little" else 0
_PIECE = 1 << 18  # elements at a time: bincount makes eight bytes of each

Array = Any


def bin_edges() -> Array:
    """BINS + 1 float64 magnitudes: bin i holds [edge i, edge i + 1)."""
    bits = (np.arange(BINS + 1, dtype=np.uint32) + np.uint32(_FIRST)) << np.uint32(_SHIFT)
    return bits.view(np.float32).astype(np.float64)


@dataclass
class Histogram:
    """What one tensor's values were: `counts` of BINS magnitudes, zeros, infinities and NaN, and the largest."""

    counts: Array = field(default_factory=lambda: np.zeros(BINS, np.int64))
    zeros: int = 0
    nonfinite: int = 0
    finite: int = 0
    largest: float = 0.0

    @property
    def values(self) -> int:
        """How many finite values were seen."""
        return self.finite

    def add(self, array: Array, *, counted: bool = True) -> None:
        """Counts the values of a float array; only the largest is kept when they need not be `counted`."""
        flat = np.ascontiguousarray(array, dtype=np.float32).reshape(-1)
        for start in range(0, flat.size, _PIECE):
            piece = flat[start : start + _PIECE]
            self._look(piece)
            if counted:
                self._count(piece)

    def clear(self) -> None:
        """Forgets everything."""
        self.counts[:] = 0
        self.zeros = self.nonfinite = self.finite = 0
        self.largest = 0.0

    def _look(self, piece: Array) -> None:
        if not piece.size:
            return
        largest = max(float(piece.max()), -float(piece.min()))
        if not np.isfinite(largest):
            finite = piece[np.isfinite(piece)]
            self.nonfinite += piece.size - finite.size
            self._look(finite)
            return
        self.finite += piece.size
        self.largest = max(self.largest, largest)

    def _count(self, piece: Array) -> None:
        upper = piece.view(np.uint16)[
            _UPPER_HALF::2
        ]  # sign, exponent and the mantissa's upper bits: a bin's number
        signed = np.bincount(upper, minlength=2 * _PATTERNS)
        counts = signed[:_PATTERNS] + signed[_PATTERNS:]
        self.zeros += int(counts[:_FIRST].sum())
        self.counts += counts[_FIRST : _FIRST + BINS]
        self.counts[-1] += int(counts[_FIRST + BINS : _INFINITE].sum())

    def merge(self, other: Histogram) -> None:
        """Counts what another one has counted."""
        self.counts += other.counts
        self.zeros += other.zeros
        self.nonfinite += other.nonfinite
        self.finite += other.finite
        self.largest = max(self.largest, other.largest)

    def above(self, threshold: float) -> float:
        """The share of values whose magnitude is above `threshold`, to the width of a bin."""
        first = int(np.searchsorted(bin_edges()[1:], threshold, side="left"))
        return float(self.counts[first + 1 :].sum() / max(self.values, 1))
