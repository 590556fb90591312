"""The distribution of errors: a histogram of magnitudes and a sample of value pairs, in constant memory.

Bins are octaves, so that one pass needs no range beforehand: an error e with 2^(k-1) <= e < 2^k falls into the bin
that ends at 2^k. Pairs are picked by position alone: those with the smallest 64-bit product of position and the golden
ratio's fraction (Knuth, The Art of Computer Programming 3, 6.4: multiplicative hashing), which spreads them evenly
over the elements and never falls in step with a tensor's axes. So neither depends on how the elements were batched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trtpipe.json_values import Json

BINS = 64
"""The most bins; what is smaller than the largest error by more octaves than that falls into the first."""
PAIRS = 200
"""The most pairs."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LEAST = -1074  # the exponent of the smallest double
_OCTAVES = 1024 - _LEAST + 1

Doubles = NDArray[np.float64]


@dataclass(slots=True)
class Spread:
    """Takes errors and pairs, a chunk at a time; only finite values."""

    zeros: int = 0
    octaves: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_OCTAVES, np.int64))
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    pairs: Doubles = field(default_factory=lambda: np.zeros((0, 2)))

    def add(
        self, positions: NDArray[np.integer], reference: Doubles, actual: Doubles, error: Doubles
    ) -> None:
        """Adds a chunk: the positions of its elements in the whole, both values, and |actual - reference|."""
        some = np.minimum(error[error > 0], np.finfo(np.float64).max)
        self.zeros += error.size - some.size
        if some.size:
            exponents = np.frexp(some)[1].astype(np.int64)
            self.octaves += np.bincount(exponents - _LEAST, minlength=_OCTAVES)
        self._pick(positions, reference, actual)

    def _pick(self, positions: NDArray[np.integer], reference: Doubles, actual: Doubles) -> None:
        # wraps around on purpose: the product modulo 2^64 is the hash
        keys = positions.astype(np.uint64) * _GOLDEN
        if self.keys.size == PAIRS:
            near = keys < self.keys[-1]
            keys, reference, actual = keys[near], reference[near], actual[near]
        if keys.size > PAIRS:
            least = np.argpartition(keys, PAIRS)[:PAIRS]
            keys, reference, actual = keys[least], reference[least], actual[least]
        if not keys.size:
            return
        together = np.concatenate([self.keys, keys])
        order = np.argsort(together)[:PAIRS]
        self.keys = together[order]
        self.pairs = np.concatenate([self.pairs, np.stack([reference, actual], axis=1)])[order]

    def as_json(self) -> dict[str, Json]:
        """`errors`: n + 1 ascending edges and n counts, none without elements; `scatter`: pairs, reference first."""
        return {"errors": self._histogram(), "scatter": self._scatter()}

    def _histogram(self) -> dict[str, Json]:
        filled = np.flatnonzero(self.octaves)
        if not filled.size:
            return (
                {"edges": [0.0, 0.0], "counts": [self.zeros]} if self.zeros else {"edges": [], "counts": []}
            )
        last = int(filled[-1])
        first = max(int(filled[0]), last - BINS + 2)
        below = self.zeros + int(self.octaves[:first].sum())
        counts = [below, *(int(count) for count in self.octaves[first : last + 1])]
        with np.errstate(over="ignore"):
            ends = [float(np.ldexp(1.0, octave + _LEAST)) for octave in range(first - 1, last + 1)]
        largest = float(np.finfo(np.float64).max)
        return {"edges": [0.0, *(min(one, largest) for one in ends)], "counts": counts}

    def _scatter(self) -> list[list[float]]:
        return [[float(f"{one:.6g}") for one in pair] for pair in self.pairs]
