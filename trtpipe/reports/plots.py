"""The larger plots of a cell's report, written as SVG directly: importing a plotting library takes longer than a build.

Equal data give equal bytes. Colours follow the page's theme, and there are no style attributes, which the page's
security policy forbids. Plots contain no text from a model; captions name what they show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from trtpipe.reports.html import Attribute, Markup, el, joined
from trtpipe.reports.part_models import Latency, Search

_WIDTH, _HEIGHT = 317.0, 194.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 307.0, 18.0, 158.0
"""Where the axes are."""
_MARGIN = 0.05
"""How far an axis reaches beyond the data, as a share of it."""
_MOST_TICKS = 6
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LARGEST, _LEAST, _LEAST_SHARE = 1e300, 1e-290, 1e-9
"""Beyond these, values and differences cannot be scaled in floating point."""
_PART_NAMES = {
    "copies_in": "copies in",
    "copies_out": "copies out",
    "compute": "compute",
    "total": "total",
    "host": "host",
}
Pairs = Sequence[Sequence[float]]
_Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values from `low` to `high`, drawn from `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], begin: float, end: float) -> _Axis:
        """An axis that holds the values, with a margin."""
        found = [_drawable(value) for value in values]
        low, high = min(found), max(found)
        largest = max(-low, high)
        span = high - low if high - low > _LEAST_SHARE * largest else largest or 1.0
        return cls(low - _MARGIN * span, high + _MARGIN * span, begin, end)

    def place(self, value: float) -> float:
        """Where a value is drawn."""
        return self.begin + (_drawable(value) - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Round values, a few."""
        rough = (self.high - self.low) / _MOST_TICKS
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(one * unit for one in _STEPS if one * unit >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [index * step for index in range(first, last + 1)]

    def powers(self) -> list[float]:
        """The powers of ten of a logarithmic axis, which has logarithms for values; at most a few."""
        first, last = math.ceil(self.low), math.floor(self.high)
        return [float(index) for index in range(first, last + 1, 1 + (last - first) // _MOST_TICKS)]


def scatter_plot(pairs: Pairs, label: str) -> Markup:
    """Reference against output, with the diagonal for equal values."""
    return _scatter(tuple((pair[0], pair[1]) for pair in pairs), label)


@lru_cache(maxsize=16)  # cached, because the targets of a variant share its validation
def _scatter(pairs: tuple[tuple[float, float], ...], label: str) -> Markup:
    values = [value for pair in pairs for value in pair]
    across, up = _Axis.over(values, _LEFT, _RIGHT), _Axis.over(values, _BOTTOM, _TOP)
    low, high = min(values), max(values)
    diagonal = _line(across.place(low), up.place(low), across.place(high), up.place(high))
    dots = "".join(_circle(across.place(one), up.place(other), 1.9) for one, other in pairs)
    parts = [_below(across, "reference"), _beside(up.place, _numbered(up.ticks()), "output"), diagonal]
    return _plot(label, *parts, el("path", d=dots, fill="var(--accent)", opacity=0.75))


def pareto_plot(search: Search, label: str) -> Markup | None:
    """Cost against error of a search's points; filled points are within the limits, rings are outside."""
    points = [
        (one.cost, one.noise, one.inside)
        for one in search.points
        if one.noise is not None and one.cost is not None
    ]
    return _pareto(tuple(points), label) if points else None


@lru_cache(maxsize=16)  # cached, because they share its search too
def _pareto(points: tuple[tuple[float, float, bool], ...], label: str) -> Markup:
    floor = min((noise for _, noise, _ in points if noise > 0), default=1e-12) / 10
    placed = [(100 * cost, math.log10(max(noise, floor)), inside) for cost, noise, inside in points]
    across = _Axis.over((one[0] for one in placed), _LEFT, _RIGHT)
    up = _Axis.over((one[1] for one in placed), _BOTTOM, _TOP)
    within, outside = (
        "".join(_circle(across.place(x), up.place(y), 2.3) for x, y, inside in placed if inside is wanted)
        for wanted in (True, False)
    )
    powers = [(power, f"{10.0**power:g}") for power in up.powers()]
    parts = [_below(across, "modelled cost, % of fp32"), _beside(up.place, powers, "error (noise by signal)")]
    parts += [_accent(within), _ring(outside)]
    parts += [_legend(180, _accent, "within the limits"), _legend(265, _ring, "outside")]
    return _plot(label, *parts)


def percentile_plot(latency: Sequence[Latency], label: str) -> Markup | None:
    """The median and the 99th percentile of each part, with a line to the slowest."""
    parts = [
        (one.part, one.p50_us, one.p99_us, one.max_us)
        for one in latency
        if one.p50_us is not None and one.p99_us is not None and one.max_us is not None
    ]
    if not parts:
        return None
    across = _Axis.over((value for _, *values in parts for value in values), _LEFT, _RIGHT)
    rows = _Axis(-0.5, len(parts) - 0.5, _TOP, _BOTTOM)
    drawn: list[Markup] = []
    for row, (_, median, tail, slowest) in enumerate(parts):
        y = rows.place(row)
        drawn.append(_line(across.place(median), y, across.place(slowest), y))
        drawn.append(_accent(_circle(across.place(median), y, 2.7)))
        drawn.append(_second(_diamond(across.place(tail), y)))
    named = [(float(row), _PART_NAMES.get(one[0], "other")) for row, one in enumerate(parts)]
    legends = [_legend(235, _accent, "p50"), _legend(275, _second, "p99")]
    return _plot(label, _below(across, "µs"), _beside(rows.place, named), *drawn, *legends)


def _drawable(value: float) -> float:
    return max(-_LARGEST, min(value, _LARGEST)) if abs(value) > _LEAST else 0.0


def _plot(label: str, *parts: Markup) -> Markup:
    frame = el(
        "path",
        d=f"M{_LEFT:g} {_TOP:g}V{_BOTTOM:g}H{_RIGHT:g}",
        fill="none",
        stroke="var(--ink)",
        stroke_width=0.7,
    )
    view = f"0 0 {_WIDTH:g} {_HEIGHT:g}"
    return el(
        "svg",
        *parts,
        frame,
        viewBox=view,
        width=f"{_WIDTH:g}",
        height=f"{_HEIGHT:g}",
        role="img",
        aria_label=label,
    )


def _below(axis: _Axis, title: str) -> Markup:
    """The horizontal axis' ticks and title."""
    ticks = axis.ticks()
    marks = "".join(f"M{axis.place(value):.1f} {_BOTTOM:g}v3.5" for value in ticks)
    words = [
        _word(text, axis.place(value), _BOTTOM + 14, text_anchor="middle") for value, text in _numbered(ticks)
    ]
    named = _word(title, (_LEFT + _RIGHT) / 2, _BOTTOM + 30, text_anchor="middle")
    return joined([_ticks(marks), *words, named])


def _beside(place: _Place, named: Sequence[tuple[float, str]], title: str = "") -> Markup:
    """The vertical axis' ticks, with what is written at each, and title."""
    marks = "".join(f"M{_LEFT:g} {place(value):.1f}h-3.5" for value, _ in named)
    words = [_word(text, _LEFT - 6, place(value) + 3, text_anchor="end") for value, text in named]
    middle = (_TOP + _BOTTOM) / 2
    turned = f"rotate(-90 11 {middle:g})"
    return joined(
        [
            _ticks(marks),
            *words,
            _word(title, 11, middle, text_anchor="middle", transform=turned) if title else None,
        ]
    )


def _numbered(ticks: Sequence[float]) -> list[tuple[float, str]]:
    return [(value, f"{value:.6g}") for value in ticks]


def _word(text: str, x: float, y: float, **more: Attribute) -> Markup:
    return el("text", text, x=f"{x:.1f}", y=f"{y:.1f}", font_size=11, fill="var(--ink)", **more)


def _legend(x: float, drawn: Callable[[str], Markup], text: str) -> Markup:
    shape = _diamond(x - 8, 8) if drawn is _second else _circle(x - 8, 8, 2.5)
    return joined([drawn(shape), _word(text, x, 11.5, text_anchor="start")])


def _ticks(marks: str) -> Markup:
    return el("path", d=marks, stroke="var(--ink)", stroke_width=0.7)


def _line(x: float, y: float, to_x: float, to_y: float) -> Markup:
    return el("path", d=f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}", stroke="var(--soft)", stroke_width=0.8)


def _accent(shapes: str) -> Markup:
    return el("path", d=shapes, fill="var(--accent)")


def _second(shapes: str) -> Markup:
    return el("path", d=shapes, fill="var(--second)")


def _ring(shapes: str) -> Markup:
    return el("path", d=shapes, fill="none", stroke="var(--second)")


def _circle(x: float, y: float, radius: float) -> str:
    return f"M{x - radius:.1f} {y:.1f}a{radius} {radius} 0 1 0 {2 * radius} 0a{radius} {radius} 0 1 0 {-2 * radius} 0"


def _diamond(x: float, y: float) -> str:
    return f"M{x:.1f} {y - 3.6:.1f}l3.6 3.6l-3.6 3.6l-3.6 -3.6z"
