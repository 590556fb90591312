"""Plots a search's measurements, cost against error, as an SVG that is delivered beside the engine.

Drawn with matplotlib (the extra `report`); if it is not installed there is only the table in the summary. Equal points
give equal bytes.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT = "pareto.svg"
MISSING = "not drawn: needs matplotlib (pip install 'trtpipe[report]')"


def pareto_svg(search: Mapping[str, Any]) -> str | None:
    """The plot of search.json; None without matplotlib, or without a point that can be drawn."""
    points = [one for one in search["points"] if one["noise"] is not None]
    if not points or importlib.util.find_spec("matplotlib") is None:
        return None
    import matplotlib
    from matplotlib.figure import Figure

    # Text stays text (searchable, small); dates and random ids are fixed, so that equal points give equal bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "trtpipe"}):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot()
        floor = _floor(points)
        _draw(axes, points, search, floor)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Title": "Cost against error"})
    return drawn.getvalue()


def _floor(points: Sequence[Mapping[str, Any]]) -> float:
    """Where an error of zero is drawn on the logarithmic axis: below all others."""
    return min((one["noise"] for one in points if one["noise"] > 0), default=1e-12) / 10


def _draw(axes: Axes, points: Sequence[Mapping[str, Any]], search: Mapping[str, Any], floor: float) -> None:
    front = [one for one in search["front"] if one["noise"] is not None]
    axes.step(*_places(front, floor), where="post", color="0.6", linewidth=1, zorder=1)
    for inside, colour, label in ((True, "tab:blue", "within the limits"), (False, "tab:red", "outside")):
        chosen = [one for one in points if one["inside"] is inside]
        if chosen:
            axes.scatter(*_places(chosen, floor), s=18, color=colour, label=label, zorder=2)
    taken = [one for one in points if one["inside"] and one["cost"] == search["cost"]][:1]
    if taken:
        places = _places(taken, floor)
        axes.scatter(*places, s=90, facecolors="none", edgecolors="black", label="taken", zorder=3)
    for one in front:
        kept = sum(one["kept"].values())
        name = one["precision"] + (f" +{kept}" if kept else "")
        axes.annotate(
            name,
            (100 * one["cost"], max(one["noise"], floor)),
            (4, 4),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set_yscale("log")
    axes.set(xlabel="modelled cost, % of fp32", ylabel="error (noise by signal)", title="Cost against error")
    axes.legend(fontsize=8)


def _places(points: Sequence[Mapping[str, Any]], floor: float) -> tuple[list[float], list[float]]:
    return [100 * one["cost"] for one in points], [max(one["noise"], floor) for one in points]
