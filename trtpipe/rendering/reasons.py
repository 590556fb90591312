"""Why each step is what it is, from the file or option that changed down to the step: `plan --why`, `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from trtpipe.plan.decisions import Decision, Pending, Restore, Run, UpToDate
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.graph import FromStep, Plan, Step
from trtpipe.plan.reasons import Changed
from trtpipe.rendering.decisions import DECISION_WORDS, decision_json, show_change, show_reason

Decisions = Mapping[str, Decision]


class Told(Protocol):
    """A commit, in words and as JSON."""

    def to_json(self) -> Mapping[str, Any]:
        """As a JSON object."""


Commits = Mapping[tuple[str, str], Told]
"""Step and field → the commit that last changed what stands behind it."""


def why_text(plan: Plan, decisions: Decisions, commits: Commits) -> str:
    """Every step that is not up to date, with the whole chain that leads to it."""
    blocks = [
        "\n".join(
            [f"{address}: {DECISION_WORDS[type(decision)]}", *_indented(plan, decisions, address, commits)]
        )
        for address, decision in decisions.items()
        if not isinstance(decision, UpToDate)
    ]
    return "\n\n".join(blocks)


def _indented(plan: Plan, decisions: Decisions, address: str, commits: Commits) -> list[str]:
    return [f"  {line}" for line in because(plan, decisions, address, commits)]


def because(plan: Plan, decisions: Decisions, address: str, commits: Commits) -> list[str]:
    """The lines that say why a step is not up to date."""
    decision = decisions[address]
    match decision:
        case Run(_, Changed(changes)):
            lines = [line for change in changes for line in _changed(plan, address, change, commits)]
        case Run(_, reason):
            lines = [show_reason(reason)]
        case Pending():
            lines = list(_follows(plan, decisions, address, commits))
        case Restore(_, _, missing):
            lines = [f"the store has all of it; not in build/: {', '.join(missing)}"]
        case UpToDate():
            lines = ["what it depends on is what it was, and what it yields is known"]
    return lines


def _changed(plan: Plan, address: str, change: Change, commits: Commits) -> Iterator[str]:
    yield show_change(change)
    commit = commits.get((address, change.field))
    if commit is not None:
        yield f"  last change: {commit}"
    maker = maker_of(plan.steps[address], change.field)
    if maker:
        yield f"  {maker} yields it, and it yields other bytes now"


def maker_of(step: Step, name: str) -> str:
    """The step whose output a field is the digest of; empty when it is a file, an option or a tool."""
    for slot, refs in step.inputs.items():
        if name.startswith(f"inputs.{slot}."):
            return next((ref.address for ref in refs if isinstance(ref, FromStep)), "")
    return ""


def _follows(plan: Plan, decisions: Decisions, address: str, commits: Commits) -> Iterator[str]:
    for way in ways_to(decisions, address):
        yield f"{' -> '.join(way)}: runs if what is before it yields other bytes"
        yield from (
            f"  {line}"
            for line in because(plan, decisions, way[0], commits)
            if not isinstance(decisions[way[0]], Pending)
        )


def ways_to(decisions: Decisions, address: str) -> list[list[str]]:
    """For each step that must run and that this one waits for, one way from there to here."""
    found: dict[str, list[str]] = {}
    pending = [[address]]
    seen = set()
    while pending:
        way = pending.pop(0)
        decision = decisions.get(way[0])
        if not isinstance(decision, Pending):
            found.setdefault(way[0], way)
            continue
        for up in decision.waits_for:
            if up not in seen:
                seen.add(up)
                pending.append([up, *way])
    return list(found.values())


def why_json(plan: Plan, decisions: Decisions, commits: Commits) -> list[dict[str, Any]]:
    """The same as JSON: for each step its decision, its changes with their commits, and what it follows from."""
    return [
        {
            "address": address,
            **decision_json(decision),
            "commits": {name: told.to_json() for (step, name), told in commits.items() if step == address},
            "follows_from": ways_to(decisions, address) if isinstance(decision, Pending) else [],
        }
        for address, decision in decisions.items()
        if address in plan.steps and not isinstance(decision, UpToDate)
    ]
