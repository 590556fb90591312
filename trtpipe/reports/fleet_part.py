"""The timeline of a fleet as a small SVG: a row for each lane, a bar for each step; a table has the same content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtpipe.reports.html import Markup, el, facts, joined, scrolling, table
from trtpipe.reports.models import FleetRecord, PlacedStep
from trtpipe.reports.words import clipped, plural, seconds_words

_WIDTH, _LABEL, _ROW, _BAR = 900, 170, 16, 12
_MOST_ROWS = 200
_MOST_LISTED = 500
_MOST_NAME = 26


def fleet_section(fleet: FleetRecord) -> Markup:
    """What ran where and when, and what running on several machines saved."""
    rows = _rows(fleet.steps)
    lanes = len({one.lane for one in fleet.steps})
    idle = 1 - sum(one.ran for one in fleet.steps) / max(fleet.wall * len(rows), 1e-9)
    ratio = fleet.work / fleet.wall if fleet.wall else 1.0
    return joined(
        [
            facts(
                [
                    ("Steps", f"{plural(len(fleet.steps), 'step')} on {plural(lanes, 'lane')}"),
                    ("Time", f"{seconds_words(fleet.wall)} from the first step to the last"),
                    ("On one lane", f"{seconds_words(fleet.work)}, {ratio:.1f} times as long"),
                    (
                        "Critical path",
                        f"{seconds_words(fleet.critical)}: steps that had to wait for each other",
                    ),
                    ("Transfers", f"{seconds_words(fleet.transfers)}, added up over all steps"),
                    ("Idle", f"{100 * max(idle, 0.0):.0f} % of the lanes' time"),
                ]
            ),
            scrolling(_drawing(rows[:_MOST_ROWS], fleet.wall), "Timeline"),
            _table(fleet.steps[:_MOST_LISTED]),
        ]
    )


Row = tuple[str, list[PlacedStep]]
"""A lane's name and steps that did not overlap."""


def _rows(steps: Sequence[PlacedStep]) -> list[Row]:
    """Steps in rows, in which none overlaps another: an agent may run several at a time."""
    rows: list[Row] = []
    for step in sorted(steps, key=lambda one: (one.lane, one.began)):
        free = next((row for name, row in rows if name == step.lane and row[-1].ended <= step.began), None)
        if free is None:
            rows.append((step.lane, [step]))
        else:
            free.append(step)
    return rows


def _drawing(rows: Sequence[Row], wall: float) -> Markup:
    height = _ROW * len(rows) + 18
    scale = (_WIDTH - _LABEL) / max(wall, 1e-9)
    return el(
        "svg",
        *(part for index, row in enumerate(rows) for part in _drawn(row, index * _ROW, scale)),
        el("text", "0 s", x=_LABEL, y=height - 3, class_="sub"),
        el("text", seconds_words(wall), x=_WIDTH, y=height - 3, class_="sub", text_anchor="end"),
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
        aria_label=f"Steps over time, a row for each of {plural(len(rows), 'lane')}; the table below lists them.",
    )


def _drawn(row: Row, top: int, scale: float) -> Iterator[Markup]:
    lane, steps = row
    yield el("text", clipped(lane, _MOST_NAME), x=0, y=top + _BAR - 1, class_="sub")
    for one in steps:
        left, width = _LABEL + one.began * scale, max((one.ended - one.began) * scale, 1.0)
        words = f"{one.address}: {seconds_words(one.ended - one.began)}"
        bar = f"M{left:.1f} {top + 1}h{width:.1f}v{_BAR - 2}h-{width:.1f}z"
        yield el("path", el("title", words), d=bar, class_="bar")


def _table(steps: Sequence[PlacedStep]) -> Markup:
    rows = [
        [
            one.address,
            one.lane,
            seconds_words(one.began),
            seconds_words(one.asked - one.began),
            seconds_words(one.waited),
            seconds_words(one.ran),
            seconds_words(one.ended - one.answered),
        ]
        for one in steps
    ]
    header = ["step", "where", "began at", "inputs sent", "waited", "ran", "results back"]
    return table(header, rows, caption="Steps that machines of the fleet ran", numeric=(2, 3, 4, 5, 6))
