"""Formats a plan with its decisions as a table, a Mermaid graph or JSON; and explains a cell's key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from trtpipe.json_values import Json
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Decision, Pending, Restore, Run, UpToDate, promise_of
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action, Cell, Plan
from trtpipe.text.causes import Causes
from trtpipe.text.decisions import DECISION_WORDS, decision_json, show_changes, show_reason, show_value
from trtpipe.text.reasons import because
from trtpipe.text.tables import render_table

Decisions = Mapping[Address, Decision]
Row: TypeAlias = tuple[str, str, str]
"""A step's address, decision and cause, as words."""


def why(decision: Decision, *, most: int = 2) -> str:
    """The cause of a decision on one line."""
    match decision:
        case Run(_, reason):
            return show_reason(reason, most=most)
        case Pending(waits_for, changes, forced):
            waits = "waits for " + ", ".join(map(str, waits_for))
            own = "asked for" if forced else show_changes(changes, most=most)
            return f"{own}; {waits}" if own else waits
        case Restore(_, _, missing):
            return "to be delivered: " + ", ".join(missing)
        case UpToDate():
            return ""


def plan_rows(plan: Plan, decisions: Decisions) -> list[Row]:
    """One row a step, shared steps first, then cell by cell."""
    return [
        (str(address), DECISION_WORDS[type(decisions[address])], why(decisions[address]))
        for address in plan.steps
    ]


def settled_rows(steps: Iterable[str]) -> list[Row]:
    """The rows of steps that are known to be up to date."""
    return [(address, DECISION_WORDS[UpToDate], "") for address in steps]


def plan_table(rows: Sequence[Row]) -> str:
    """Steps with their decisions and causes."""
    return render_table(("step", "decision", "why"), rows)


def plan_closing(rows: Sequence[Row]) -> str:
    """How many steps of each decision, on one line."""
    words = [word for _, word, _ in rows]
    counts = [f"{words.count(word)} {word}" for word in DECISION_WORDS.values() if word in words]
    return f"{len(words)} steps: " + ", ".join(counts)


def plan_json(plan: Plan, decisions: Decisions, promises: Mapping[str, str] | None = None) -> dict[str, Json]:
    """The plan and its decisions as a JSON object; `promises` gives for each cell the expected result of a build."""
    steps = [
        {
            "address": str(address),
            "stage": step.stage,
            "needs": sorted(set(map(str, step.upstream()))),
            **decision_json(decisions[address]),
            "promise": promise_of(decisions[address]),
        }
        for address, step in plan.steps.items()
    ]
    cells = [
        {
            "cell": cell.name,
            "steps": {stage: str(one) for stage, one in cell.steps.items()},
            **dict(cell.facts),
            **({"promise": promises[cell.name]} if promises is not None else {}),
        }
        for cell in plan.cells
    ]
    return {"schema": 1, "steps": steps, "cells": cells}


_MERMAID_CLASS = {UpToDate: "fresh", Restore: "restore", Run: "run", Pending: "pending"}
_MERMAID_STYLE = (
    "classDef fresh fill:#e6f4ea,stroke:#34773f",
    "classDef restore fill:#e8f0fe,stroke:#3367d6",
    "classDef run fill:#fef7e0,stroke:#b06000",
    "classDef pending fill:#f1f3f4,stroke:#5f6368",
)


def plan_mermaid(plan: Plan, decisions: Decisions) -> str:
    """The plan as a Mermaid flowchart, coloured by decision."""
    ids = {address: f"s{index}" for index, address in enumerate(plan.steps)}
    lines = ["flowchart LR"]
    lines += [
        f'  {ids[address]}["{address}<br/>{DECISION_WORDS[type(decisions[address])]}"]:::'
        + _MERMAID_CLASS[type(decisions[address])]
        for address in plan.steps
    ]
    lines += [
        f"  {ids[before]} --> {ids[step.address]}"
        for step in plan.steps.values()
        for before in dict.fromkeys(step.upstream())
    ]
    return "\n".join([*lines, *(f"  {style}" for style in _MERMAID_STYLE)])


def explain_cell(
    plan: Plan,
    cell: Cell,
    decisions: Decisions,
    actions: Mapping[Address, Action],
    last: Mapping[Address, Record | None],
    causes: Causes,
) -> str:
    """Every step of a cell: its decision, its reason field by field, and the full contents of its key."""
    return "\n\n".join(
        _explain_step(
            address,
            decisions[address],
            because(plan, decisions, address, causes),
            actions.get(address),
            last.get(address),
        )
        for address in cell.steps.values()
    )


def _explain_step(
    address: Address, decision: Decision, reasons: list[str], action: Action | None, last: Record | None
) -> str:
    lines = [f"{address}: {DECISION_WORDS[type(decision)]}", *(f"  {line}" for line in reasons)]
    if action is None:
        return "\n".join(lines)
    lines.append(f"  key {action.key}")
    if last is None:
        lines.append("  no earlier run is known here")
    lines += _fields(action.fingerprint.record())
    return "\n".join(lines)


def _fields(record: Record, indent: str = "    ") -> list[str]:
    lines = []
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{name}:", *_fields(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
            for index, item in enumerate(value):
                inner = item if isinstance(item, Mapping) else {"": item}
                lines += [f"{indent}{name}[{index}]:", *_fields(inner, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {show_value(value) if value not in ({}, []) else '(none)'}")
    return lines
