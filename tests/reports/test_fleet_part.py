"""The timeline of a fleet in the report: its figures, its rows, and reports from before there were fleets."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from trtpipe.app.report.fleet import fleet_record
from trtpipe.fleet.records import Placed
from trtpipe.plan.address import address
from trtpipe.plan.graph import FromStep, Step
from trtpipe.plan.options import UNPLACED, ImportOptions
from trtpipe.reports.build_parts.fleet_part import fleet_section
from trtpipe.reports.models import FleetRecord

OPTIONS = ImportOptions(parser="onnx", parser_version=1, options={}, origins=UNPLACED)
A, B, C = (address("import", name) for name in ("a", "b", "c"))


def placed(at, lane, *times) -> Placed:
    """`times` are begun, asked, answered, ended, and the seconds that it ran."""
    return Placed(str(at), "key", lane, lane, *times[:4], 0.0, times[4])


def steps(**needs):
    return {
        at: Step(
            at, OPTIONS, {}, {"model": tuple(FromStep(one, ("m",)) for one in needs.get(at.pipeline, ()))}
        )
        for at in (A, B, C)
    }


def test_times_are_added_up_and_the_longest_chain_is_found():
    ran = [
        placed(A, "x", 100, 101, 105, 106, 4),
        placed(B, "y", 100, 100, 103, 103, 3),
        placed(C, "x", 106, 106, 111, 112, 5),
    ]

    found = fleet_record(ran, steps(c=(A,)))

    assert found is not None
    assert (found.wall, found.work, found.critical, found.transfers) == (12, 12, 9, 3)
    assert FleetRecord.read(json.loads(json.dumps(found.to_json()))) == found


def test_without_a_fleet_there_is_no_record():
    assert fleet_record([], steps()) is None


def test_steps_that_overlap_are_drawn_in_rows_of_their_own():
    ran = [placed(A, "x", 0, 0, 4, 4, 4), placed(B, "x", 1, 1, 3, 3, 2), placed(C, "x", 4, 4, 5, 5, 1)]
    record = fleet_record(ran, steps())
    assert record is not None

    html = str(fleet_section(record))

    svg = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    tops = [path.attrib["d"].split()[1].split("h")[0] for path in svg.iter() if path.tag.endswith("path")]
    assert sorted(tops) == ["1", "1", "17"]
    assert "1.4 times as long" in html


@pytest.mark.parametrize("name", ["<b>", "x" * 500])
def test_names_of_agents_are_only_text(name):
    record = fleet_record([placed(A, name, 0, 0, 1, 1, 1)], steps())
    assert record is not None

    assert "<b>" not in str(fleet_section(record))
