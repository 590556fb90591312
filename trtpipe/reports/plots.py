"""The larger plots of a cell's report, drawn by matplotlib (the extra `report`), imported only when needed.

Each plot is inline SVG: equal data give equal bytes, colours follow the page's theme, and style attributes and elements
are removed because the page's security policy forbids them. Plots contain no text from a model; captions name what they
show.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from trtpipe.reports.html import Markup
from trtpipe.reports.part_models import Latency, Search
from trtpipe.reports.theme import themed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INSTALL = "pip install 'trtpipe[report]'"
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "trtpipe", "font.size": 8.5, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.7, "text.parse_math": False, "path.simplify": True,
}  # fmt: skip
_LEGEND = {"fontsize": 8, "frameon": False, "loc": "lower right", "bbox_to_anchor": (1, 0.98), "ncols": 2}
Pairs = Sequence[Sequence[float]]


@cache
def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def _drawn(
    draw: Callable[[Axes], None], name: str, label: str, size: tuple[float, float] = (4.4, 2.7)
) -> Markup:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size)
        axes = figure.add_axes((0.19, 0.17, 0.78, 0.74))
        draw(axes)
        axes.minorticks_off()  # without minor ticks, which take most of the drawing time of a logarithmic axis
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return themed(drawn.getvalue(), name, label)


def scatter_plot(pairs: Pairs, name: str, label: str) -> Markup:
    """Reference against output, with the diagonal for equal values."""
    return _scatter(tuple((pair[0], pair[1]) for pair in pairs), name, label)


@lru_cache(maxsize=16)  # cached, because the targets of a variant share its validation
def _scatter(pairs: tuple[tuple[float, float], ...], name: str, label: str) -> Markup:

    def draw(axes: Axes) -> None:
        reference, output = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        low, high = min(*reference, *output), max(*reference, *output)
        axes.plot([low, high], [low, high], color="C7", linewidth=0.8)
        axes.scatter(reference, output, s=9, color="C0", alpha=0.75, linewidths=0)
        axes.set(xlabel="reference", ylabel="output")

    return _drawn(draw, name, label)


def pareto_plot(search: Search, name: str, label: str) -> Markup | None:
    """Cost against error of a search's points; filled points are within the limits, rings are outside."""
    points = [
        (one.cost, one.noise, one.inside)
        for one in search.points
        if one.noise is not None and one.cost is not None
    ]
    return _pareto(tuple(points), name, label) if points else None


@lru_cache(maxsize=16)  # cached, because they share its search too
def _pareto(points: tuple[tuple[float, float, bool], ...], name: str, label: str) -> Markup:
    floor = min((noise for _, noise, _ in points if noise > 0), default=1e-12) / 10

    def draw(axes: Axes) -> None:
        for inside, face, edge in ((True, "C0", "C0"), (False, "none", "C1")):
            own = [one for one in points if one[2] is inside]
            costs, noises = [100 * one[0] for one in own], [max(one[1], floor) for one in own]
            told = "within the limits" if inside else "outside"
            axes.scatter(costs, noises, s=16, label=told, facecolors=face, edgecolors=edge)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(xlabel="modelled cost, % of fp32", ylabel="error (noise by signal)")
        axes.legend(**_LEGEND)

    return _drawn(draw, name, label)


def percentile_plot(latency: Sequence[Latency], name: str, label: str) -> Markup | None:
    """The median and the 99th percentile of each part, with a line to the slowest."""
    parts = [
        (one.part, one.p50_us, one.p99_us, one.max_us)
        for one in latency
        if one.p50_us is not None and one.p99_us is not None and one.max_us is not None
    ]
    if not parts:
        return None

    def draw(axes: Axes) -> None:
        rows = range(len(parts))
        named, medians, tails, slowest = zip(*parts, strict=True)
        axes.hlines(rows, medians, slowest, color="C7", linewidth=0.8)
        axes.scatter(medians, rows, s=22, color="C0", label="p50", zorder=3)
        axes.scatter(tails, rows, s=22, color="C1", marker="D", label="p99", zorder=3)
        names = {"copies_in": "copies in", "copies_out": "copies out"}
        known = ("compute", "total", "host", *names)
        axes.set_yticks(rows, [names.get(one, one if one in known else "other") for one in named])
        axes.invert_yaxis()
        axes.set(xlabel="µs")
        axes.legend(**_LEGEND)

    return _drawn(draw, name, label)
