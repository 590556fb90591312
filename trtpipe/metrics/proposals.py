"""Proposes thresholds from measured noise: each output's worst value, plus a margin, rounded to the safe side.

Two metrics are proposed: `snr`, which has no unit and detects an output that is shifted, scaled or swapped, and
`max_abs`, which detects a single wrong element. A margin of 3 allows errors three times as large as any measured, which
is 9.5 dB less. Takes reports as plain data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from glob import escape

from trtpipe.json_values import JsonObject
from trtpipe.metrics.metrics import Metrics
from trtpipe.metrics.reports import read_report
from trtpipe.spec.pipeline import Threshold

MARGIN = 3.0


def proposed_thresholds(reports: Sequence[JsonObject], margin: float = MARGIN) -> list[Threshold]:
    """Thresholds for every output that was measured; except those that were not finite."""
    measured: dict[str, list[Metrics]] = {}
    for report in reports:
        for place in read_report(report).places:
            for name, metrics in place.outputs.items():
                measured.setdefault(name, []).append(metrics)
    return [threshold for name, found in measured.items() for threshold in _of(name, found, margin)]


def _of(name: str, found: Sequence[Metrics], margin: float) -> Iterator[Threshold]:
    if any(one.nonfinite.nan or one.nonfinite.differing for one in found):
        return
    ratios = [value for one in found if (value := one.values["snr"]) is not None]
    errors = [value for one in found if (value := one.values["max_abs"]) is not None]
    worst = min(ratios, default=math.inf)
    if math.isfinite(worst):
        bound = math.floor(10 * (worst - 20 * math.log10(margin))) / 10
        yield Threshold(output=escape(name), metric="snr", min=bound)
    if errors:
        yield Threshold(output=escape(name), metric="max_abs", max=_up(margin * max(errors)))


def _up(value: float) -> float:
    """The number of two digits that is at least as large."""
    if value == 0:
        return 0.0
    digits = 1 - math.floor(math.log10(value))
    found = float(f"{value:.1e}")
    return found if found >= value else float(f"{value + 0.5 * 10.0**-digits:.1e}")
