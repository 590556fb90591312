"""Work over time as a small SVG: a row for each lane, a bar for each piece of work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trtpipe.reports.html import Markup, el, scrolling
from trtpipe.reports.words import clipped, plural, seconds_words

_WIDTH, _LABEL, _ROW, _BAR = 900, 170, 16, 12
_MOST_ROWS = 200
_MOST_NAME = 26


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of work; times in seconds since the picture's left edge."""

    lane: str
    name: str
    began: float
    ended: float


Row = tuple[str, list[Bar]]
"""A lane's name and bars that do not overlap."""


def rows_of(bars: Iterable[Bar]) -> list[Row]:
    """Bars in rows, in which none overlaps another: a lane may do several things at a time."""
    rows: list[Row] = []
    for bar in sorted(bars, key=lambda one: (one.lane, one.began)):
        free = next((row for name, row in rows if name == bar.lane and row[-1].ended <= bar.began), None)
        if free is None:
            rows.append((bar.lane, [bar]))
        else:
            free.append(bar)
    return rows


def gantt(rows: Sequence[Row], wall: float, what: str) -> Markup:
    """The picture; `what` are the bars, for its text in words."""
    shown = rows[:_MOST_ROWS]
    height = _ROW * len(shown) + 18
    scale = (_WIDTH - _LABEL) / max(wall, 1e-9)
    drawing = el(
        "svg",
        *(part for index, row in enumerate(shown) for part in _drawn(row, index * _ROW, scale)),
        el("text", "0 s", x=_LABEL, y=height - 3, class_="sub"),
        el("text", seconds_words(wall), x=_WIDTH, y=height - 3, class_="sub", text_anchor="end"),
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
        aria_label=f"{what} over time, a row for each of {plural(len(shown), 'lane')}; the table below lists them.",
    )
    return scrolling(drawing, "Timeline")


def _drawn(row: Row, top: int, scale: float) -> Iterator[Markup]:
    lane, bars = row
    yield el("text", clipped(lane, _MOST_NAME), x=0, y=top + _BAR - 1, class_="sub")
    for one in bars:
        left, width = _LABEL + one.began * scale, max((one.ended - one.began) * scale, 1.0)
        words = f"{one.name}: {seconds_words(one.ended - one.began)}"
        bar = f"M{left:.1f} {top + 1}h{width:.1f}v{_BAR - 2}h-{width:.1f}z"
        yield el("path", el("title", words), d=bar, class_="bar")
