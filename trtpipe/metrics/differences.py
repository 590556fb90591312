"""Whether one series of times is faster than another, and how sure that is: a bootstrap over blocks in time.

The ratio of two medians is resampled from the block medians of both (the block bootstrap, Künsch 1989, with blocks that
do not overlap): neighbouring times are correlated, and resampling single ones would overstate the certainty. Effects
that vary from one start to the next (clocks, other load, memory layout) cannot be seen within one run, so a difference
counts only if it also exceeds the share within which each run was stable.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from trtpipe.metrics.latency import Blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtpipe.json_values import Json

DRAWS = 2000
CONFIDENCE = 95
LEAST_BLOCKS = 5
"""Fewer blocks than this on either side, and no interval is given."""
_SEED = 0x5EED

Verdict = Literal["faster", "slower", "inside the noise", "too few times"]


@dataclass(frozen=True, slots=True)
class Difference:
    """How long `this` takes, as a multiple of what `that` takes."""

    ratio: float
    low: float | None
    """The interval that holds the ratio with a confidence of 95 %; None where there were too few times."""
    high: float | None
    verdict: Verdict
    this_us: float
    that_us: float

    def to_json(self) -> dict[str, Json]:
        """As plain data."""
        return asdict(self) | {"confidence": CONFIDENCE}


def difference(this: Blocks, that: Blocks, within: float) -> Difference:
    """Compares two summaries of `metrics.latency`; `within` is the share by which a run may drift by itself."""
    ratio = this["p50_us"] / that["p50_us"]
    ours, theirs = (np.asarray(one["block_medians_us"], np.float64) for one in (this, that))
    if min(ours.size, theirs.size) < LEAST_BLOCKS:
        return Difference(ratio, None, None, "too few times", this["p50_us"], that["p50_us"])
    random = np.random.Generator(np.random.PCG64(_SEED))
    drawn = _medians(ours, random) / _medians(theirs, random)
    tail = (100 - CONFIDENCE) / 2
    low, high = (float(one) for one in np.percentile(drawn, (tail, 100 - tail)))
    # The ratio is of the medians of all times, the interval of block medians, so the ratio can lie outside.
    low, high = min(low, ratio), max(high, ratio)
    return Difference(ratio, low, high, _verdict(ratio, low, high, within), this["p50_us"], that["p50_us"])


def _medians(blocks: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The median of each of many samples, drawn with replacement."""
    return np.median(blocks[random.integers(0, blocks.size, (DRAWS, blocks.size))], axis=1)


def _verdict(ratio: float, low: float, high: float, within: float) -> Verdict:
    if low <= 1 <= high or 1 / (1 + within) <= ratio <= 1 + within:
        return "inside the noise"
    return "faster" if ratio < 1 else "slower"


def words(one: Difference) -> str:
    """`1.52 times as fast (95 %: 1.48 to 1.56)`, or that the difference is inside the noise."""
    faster = one.ratio <= 1
    ends = [one.ratio, one.high, one.low] if faster else [one.ratio, one.low, one.high]
    numbers = [(1 / end if faster else end) for end in ends if end]
    shown = f"{numbers[0]:.3g} times as {'fast' if faster else 'long'}"
    if len(numbers) == 3:
        shown += f" ({CONFIDENCE} %: {numbers[1]:.3g} to {numbers[2]:.3g})"
    return shown if one.verdict in ("faster", "slower") else f"{shown}, {one.verdict}"
