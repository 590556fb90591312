"""A plan as a table, as a graph, as JSON, and a cell's key in full."""

from __future__ import annotations

import pytest

from tests.building.world import at, step
from trtpipe.digests import digest_bytes
from trtpipe.plan.decisions import Pending, Restore, Run, UpToDate
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.graph import Cell, action_of, plan_of
from trtpipe.plan.reasons import Changed, First
from trtpipe.text.plans import explain_cell, plan_closing, plan_json, plan_mermaid, plan_rows, plan_table

OUT = digest_bytes(b"out")
STEPS = [
    step("net", source=b"x"),
    step("fp32", "net", bits=32),
    step("fp16", "net", bits=16),
    step("both", "fp32", "fp16"),
]
CELL = Cell("net/fp32@ada", "net", "fp32", "ada", {"import": at("net"), "build_engine": at("fp32")})
PLAN = plan_of({one.address: one for one in STEPS}, (CELL,))
DECISIONS = {
    at("net"): UpToDate("k1", {"out": OUT}),
    at("fp32"): Restore("k2", {"out": OUT}, ("net/fp32@ada/",)),
    at("fp16"): Run("k3", First()),
    at("both"): Pending((at("fp16"),)),
}


def test_a_row_for_each_step_with_the_reason_where_there_is_one():
    assert plan_table(plan_rows(PLAN, DECISIONS)).splitlines() == [
        "step         decision    why",
        "net:import   up to date",
        "fp32:import  restore     to be delivered: net/fp32@ada/",
        "fp16:import  run         never built here",
        "both:import  pending     waits for fp16:import",
    ]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("net", "fp32", "fp16", "both"), "4 steps: 1 up to date, 1 restore, 1 run, 1 pending"),
        (("both", "net"), "2 steps: 1 up to date, 1 pending"),
    ],
)
def test_the_last_line_counts_the_decisions_that_there_are(names, line):
    wanted = {str(at(name)) for name in names}
    assert plan_closing([row for row in plan_rows(PLAN, DECISIONS) if row[0] in wanted]) == line


def test_a_plan_as_json_has_what_each_step_needs_and_promises():
    record = plan_json(PLAN, DECISIONS, {CELL.name: "will be restored"})

    assert [(one["address"], one["needs"], one["decision"], one["promise"]) for one in record["steps"]] == [
        ("net:import", [], "up_to_date", "will not run"),
        ("fp32:import", ["net:import"], "restore", "will not run"),
        ("fp16:import", ["net:import"], "run", "will run"),
        ("both:import", ["fp16:import", "fp32:import"], "pending", "may run"),
    ]
    assert record["cells"] == [
        {
            "cell": "net/fp32@ada",
            "steps": {"import": "net:import", "build_engine": "fp32:import"},
            "promise": "will be restored",
        }
    ]
    assert "promise" not in plan_json(PLAN, DECISIONS)["cells"][0]


def test_a_graph_has_a_node_for_each_step_coloured_by_its_decision_and_an_arrow_for_each_need():
    assert plan_mermaid(PLAN, DECISIONS).splitlines()[:9] == [
        "flowchart LR",
        '  s0["net:import<br/>up to date"]:::fresh',
        '  s1["fp32:import<br/>restore"]:::restore',
        '  s2["fp16:import<br/>run"]:::run',
        '  s3["both:import<br/>pending"]:::pending',
        "  s0 --> s1",
        "  s0 --> s2",
        "  s1 --> s3",
        "  s2 --> s3",
    ]


def test_every_colour_of_a_graph_is_defined_once():
    lines = plan_mermaid(PLAN, DECISIONS).splitlines()[9:]

    assert [line.split()[:2] for line in lines] == [
        ["classDef", name] for name in ("fresh", "restore", "run", "pending")
    ]


def explained(decision, known: bool, last=None, **options) -> list[str]:
    one = step("net", source=b"x", **options)
    cell = Cell("net/a@t", "net", "a", "t", {"import": at("net")})
    actions = {at("net"): action_of(one, {})} if known else {}
    return explain_cell(
        plan_of({one.address: one}, (cell,)), cell, {at("net"): decision}, actions, {at("net"): last}, {}
    ).splitlines()


def test_a_key_is_shown_field_by_field():
    lines = explained(Run("k", First()), True, level=3, names=["a", "b"], none={}, nested=[{"x": 1}, 2])

    assert lines[:2] == ["net:import: run", "  never built here"]
    assert lines[2].startswith("  key ") and len(lines[2]) == len("  key ") + 64
    assert lines[3] == "  no earlier run is known here"
    digest = digest_bytes(b"x")
    assert lines[4:] == [
        "    schema: 1",
        "    stage: import",
        "    version: 5",
        "    options:",
        "      level: 3",
        "      names: [a, b]",
        "      none: (none)",
        "      nested[0]:",
        "        x: 1",
        "      nested[1]:",
        "        : 2",
        "    tools: (none)",
        "    inputs:",
        "      source:",
        f"        source: {str(digest)[:12]} (1 bytes)",
    ]


def test_a_step_with_an_earlier_run_is_not_said_to_have_none():
    changed = Run("k", Changed((Change("options.level", 2, 3),)))
    lines = explained(changed, True, last={"schema": 1}, level=3)

    assert lines[:2] == ["net:import: run", "  options.level: 2 -> 3"]
    assert "  no earlier run is known here" not in lines


def test_a_key_that_is_not_known_yet_is_left_out():
    assert explained(UpToDate("k", {}), False) == [
        "net:import: up to date",
        "  what it depends on is what it was, and what it yields is known",
    ]


def test_the_steps_of_a_cell_are_told_apart_by_an_empty_line():
    text = explain_cell(PLAN, CELL, DECISIONS, {}, {}, {})

    assert text.split("\n\n") == [
        "net:import: up to date\n  what it depends on is what it was, and what it yields is known",
        "fp32:import: restore\n  the store has all of it; to be delivered: net/fp32@ada/",
    ]
