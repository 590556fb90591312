"""A histogram as a small SVG of bars, written directly: a page has hundreds of them, each of about a kilobyte."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from trtpipe.reports.html import Markup, el
from trtpipe.reports.part_models import Histogram
from trtpipe.reports.words import number_words

_WIDTH, _HEIGHT = 240, 48
_MOST_BARS = 60


def histogram_bars(histogram: Histogram, label: str) -> Markup:
    """Bars of equal width for the bins, with their range underneath; `label` is the alternative text.

    Wider bins are drawn with the same width, because the edges of error histograms grow exponentially.
    """
    edges, counts = histogram.edges, _merged(histogram.counts)
    most = max(counts) or 1
    step = _WIDTH / len(counts)
    bars = "".join(
        f"M{index * step:.1f} {_HEIGHT}v-{max(_HEIGHT * value / most, 1):.1f}h{step * 0.86:.1f}V{_HEIGHT}z"
        for index, value in zip(count(), counts)
        if value
    )
    return el(
        "svg",
        el("path", d=bars, class_="bar"),
        el("path", d=f"M0 {_HEIGHT + 0.5}H{_WIDTH}", class_="axis"),
        el("text", number_words(edges[0], 3), x=0, y=_HEIGHT + 13, class_="sub"),
        el(
            "text",
            number_words(edges[len(edges) // 2], 3),
            x=_WIDTH / 2,
            y=_HEIGHT + 13,
            class_="sub",
            text_anchor="middle",
        ),
        el("text", number_words(edges[-1], 3), x=_WIDTH, y=_HEIGHT + 13, class_="sub", text_anchor="end"),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT + 18}",
        width=_WIDTH,
        height=_HEIGHT + 18,
        role="img",
        aria_label=f"{label}: {spread_words(histogram)}",
    )


def spread_words(histogram: Histogram) -> str:
    """A histogram in words: the count, the range, and where most values are."""
    edges, counts = histogram.edges, histogram.counts
    total = sum(counts)
    if not total:
        return "no values"
    filled = [index for index, value in enumerate(counts) if value]
    most = max(range(len(counts)), key=counts.__getitem__)
    return (
        f"{total:.0f} values from {number_words(edges[filled[0]], 3)} to {number_words(edges[filled[-1] + 1], 3)}, "
        f"most of them ({100 * counts[most] / total:.0f} %) between {number_words(edges[most], 3)} "
        f"and {number_words(edges[most + 1], 3)}"
    )


def _merged(counts: Sequence[float]) -> list[float]:
    """Merges neighbouring bins until there are few enough to be visible."""
    size = -(-len(counts) // _MOST_BARS)
    return [sum(counts[start : start + size]) for start in range(0, len(counts), size)]
