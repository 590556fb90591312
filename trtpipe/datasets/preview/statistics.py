"""Statistics of one input's values, accumulated batch by batch in float64. Memory use is that of a batch.

Mean and variance are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances" (1979). Only finite values enter them; the others are counted separately.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

MOST_CHANNELS = 16
_SHAPES = 8


class Moments:
    """Count, minimum, maximum, mean and standard deviation of values."""

    def __init__(self) -> None:
        self.count = 0
        self.least, self.largest = math.inf, -math.inf
        self.mean = self.squares = 0.0

    def add(self, values: Array) -> None:
        """Adds finite values."""
        if not values.size:
            return
        wide = values.astype(np.float64)
        mean = float(wide.mean())
        squares = float(np.square(wide - mean).sum())
        total = self.count + wide.size
        moved = mean - self.mean
        self.squares += squares + moved * moved * self.count * wide.size / total
        self.mean += moved * wide.size / total
        self.count = total
        self.least, self.largest = min(self.least, float(wide.min())), max(self.largest, float(wide.max()))

    def to_json(self) -> dict[str, float | None]:
        """min, max, mean and (population) std; None when there were no values."""
        if not self.count:
            return {"min": None, "max": None, "mean": None, "std": None}
        std = math.sqrt(self.squares / self.count)
        return {"min": self.least, "max": self.largest, "mean": self.mean, "std": std}


class Statistics:
    """Statistics of one input; with a `channel_axis` (of the batch) also for each channel."""

    def __init__(self, channel_axis: int | None) -> None:
        self.axis = channel_axis
        self.whole = Moments()
        self.channels: list[Moments] = []
        self.shapes: dict[tuple[int, ...], int] = {}
        self.zeros = self.nonfinite = self.values = 0

    def add(self, batch: Array) -> None:
        """Adds a batch."""
        shape = tuple(batch.shape[1:])
        self.shapes[shape] = self.shapes.get(shape, 0) + (len(batch) if batch.ndim else 1)
        finite = np.isfinite(batch) if batch.dtype.kind not in "iub" else np.ones(batch.shape, bool)
        self.values += batch.size
        self.nonfinite += batch.size - int(np.count_nonzero(finite))
        self.zeros += batch.size - int(np.count_nonzero(batch))
        self.whole.add(batch[finite])
        if self.axis is None or not 2 <= batch.shape[self.axis] <= MOST_CHANNELS:
            return
        self.channels += [Moments() for _ in range(batch.shape[self.axis] - len(self.channels))]
        for number, moments in enumerate(self.channels[: batch.shape[self.axis]]):
            moments.add(batch.take(number, self.axis)[finite.take(number, self.axis)])

    def to_json(self) -> dict[str, Json]:
        """Shapes of a sample (the most common first), values, shares, and the moments."""
        common = sorted(self.shapes.items(), key=lambda item: (-item[1], item[0]))
        return {
            "shapes": [{"shape": list(shape), "samples": count} for shape, count in common[:_SHAPES]],
            "more_shapes": max(0, len(common) - _SHAPES),
            "values": self.values,
            "zeros": self.zeros / max(self.values, 1),
            "nonfinite": self.nonfinite,
            **self.whole.to_json(),
            "channels": [one.to_json() for one in self.channels],
        }
