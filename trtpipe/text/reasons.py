"""Explains why each step has its decision, from the changed file or option to the step: `plan --why`, `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Decision, Pending, Restore, Run, UpToDate, promise_of
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.graph import Plan
from trtpipe.plan.origins import FromMaker
from trtpipe.plan.reasons import Changed, Forced
from trtpipe.text.causes import Cause, Causes
from trtpipe.text.decisions import DECISION_WORDS, decision_json, show_change, show_reason

Decisions = Mapping[Address, Decision]

_IF_OTHER = "runs if what is before it yields other bytes"


def why_text(plan: Plan, decisions: Decisions, causes: Causes) -> str:
    """Every step that is not up to date, with the whole chain that leads to it."""
    blocks = [
        "\n".join(
            [f"{address}: {DECISION_WORDS[type(decision)]}", *_indented(plan, decisions, address, causes)]
        )
        for address, decision in decisions.items()
        if not isinstance(decision, UpToDate)
    ]
    return "\n\n".join(blocks)


def _indented(plan: Plan, decisions: Decisions, address: Address, causes: Causes) -> list[str]:
    return [f"  {line}" for line in because(plan, decisions, address, causes)]


def because(plan: Plan, decisions: Decisions, address: Address, causes: Causes) -> list[str]:
    """The lines that say why a step is not up to date."""
    decision = decisions[address]
    match decision:
        case Run(_, Changed(changes)):
            lines = [line for change in changes for line in _changed(plan, address, change, causes)]
        case Run(_, reason):
            lines = [show_reason(reason)]
        case Pending():
            lines = [*_own(plan, address, decision, causes), *_follows(plan, decisions, address, causes)]
        case Restore(_, _, missing):
            lines = [f"the store has all of it; to be delivered: {', '.join(missing)}"]
        case UpToDate():
            lines = ["what it depends on is what it was, and what it yields is known"]
    return lines


def _own(plan: Plan, address: Address, decision: Pending, causes: Causes) -> Iterator[str]:
    """The reason of a step itself, in addition to the steps that it waits for."""
    for change in decision.changes:
        yield from _changed(plan, address, change, causes)
    if decision.forced:
        yield show_reason(Forced())


def _changed(plan: Plan, address: Address, change: Change, causes: Causes) -> Iterator[str]:
    yield show_change(change)
    cause = causes.get((address, change.field))
    if cause is not None and cause.place:
        yield f"  at {cause.place}"
    if cause is not None and cause.commit is not None:
        yield f"  last change: {cause.commit}"
    origin = plan.steps[address].origin(change.path)
    if isinstance(origin, FromMaker):
        yield f"  {origin.address} yields it, and it yields other bytes now"


def _follows(plan: Plan, decisions: Decisions, address: Address, causes: Causes) -> Iterator[str]:
    sure = promise_of(decisions[address]) == "will run"
    for way in ways_to(decisions, address):
        yield f"{' -> '.join(map(str, way))}: " + ("runs behind it" if sure else _IF_OTHER)
        first = decisions[way[0]]
        lines = (
            _own(plan, way[0], first, causes)
            if isinstance(first, Pending)
            else because(plan, decisions, way[0], causes)
        )
        yield from (f"  {line}" for line in lines)


def ways_to(decisions: Decisions, address: Address) -> list[list[Address]]:
    """A path to this step from each earlier step that must run, or is pending and has changes of its own."""
    found: dict[Address, list[Address]] = {}
    pending = [[address]]
    seen = set()
    while pending:
        way = pending.pop(0)
        decision = decisions.get(way[0])
        if not isinstance(decision, Pending) or (decision.changes and way[0] != address):
            found.setdefault(way[0], way)
        for up in decision.waits_for if isinstance(decision, Pending) else ():
            if up not in seen:
                seen.add(up)
                pending.append([up, *way])
    return list(found.values())


def follows_from(decisions: Decisions, address: Address) -> list[list[str]]:
    """Those paths as texts, for JSON; none for a step that waits for nothing."""
    waits = isinstance(decisions[address], Pending)
    return [list(map(str, way)) for way in ways_to(decisions, address)] if waits else []


def why_json(plan: Plan, decisions: Decisions, causes: Causes) -> list[dict[str, Any]]:
    """The same as JSON: for each step its decision, its changes with their places and commits, and what it follows
    from."""
    return [
        {
            "address": str(address),
            **decision_json(decision),
            "places": {name: cause.place_json() for name, cause in _of(address, causes)},
            "commits": {name: one.commit.to_json() for name, one in _of(address, causes) if one.commit},
            "follows_from": follows_from(decisions, address),
        }
        for address, decision in decisions.items()
        if address in plan.steps and not isinstance(decision, UpToDate)
    ]


def _of(address: Address, causes: Causes) -> Iterator[tuple[str, Cause]]:
    yield from ((name, cause) for (step, name), cause in causes.items() if step == address)
