"""The timeline of a fleet: a row for each lane, a bar for each step; a table has the same content."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.reports.gantt import Bar, gantt, rows_of
from trtpipe.reports.html import Markup, facts, joined, table
from trtpipe.reports.models import FleetRecord, PlacedStep
from trtpipe.reports.words import plural, seconds_words

_MOST_LISTED = 500


def fleet_section(fleet: FleetRecord) -> Markup:
    """What ran where and when, and what running on several machines saved."""
    rows = rows_of(Bar(one.lane, one.address, one.began, one.ended) for one in fleet.steps)
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
            gantt(rows, fleet.wall, "Steps"),
            _table(fleet.steps[:_MOST_LISTED]),
        ]
    )


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
