"""`trtpipe plan` and `trtpipe explain`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from trtpipe.building.causes import Causes
from trtpipe.building.forecast import Foreseen, foresee
from trtpipe.building.lock_refusals import contradictions
from trtpipe.building.planned import Planned, make_plan, runs
from trtpipe.building.unchanged.settled import Settled, open_unsettled
from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Pending
from trtpipe.plan.fingerprint import changes_between
from trtpipe.problem_codes import Code
from trtpipe.text.causes import Cause
from trtpipe.text.decisions import decision_json
from trtpipe.text.plans import (
    Row,
    explain_cell,
    plan_closing,
    plan_json,
    plan_mermaid,
    plan_rows,
    plan_table,
    settled_rows,
)
from trtpipe.text.reasons import follows_from, why_json, why_text
from trtpipe.workspace.held_steps import CONTRADICTS, Held
from trtpipe.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from trtpipe.building.bundles.comparison import ForeseenBundle


_NOTHING_RUNS = "every step is up to date"


@dataclass(frozen=True, slots=True)
class Form:
    """How a plan is shown; as a table unless one of these is asked for."""

    as_json: bool = False
    graph: str | None = None
    """The format of a graph."""
    why: bool = False
    """Whether the whole chain behind each decision is shown."""


def plan_command(
    specs: Sequence[str], only: Sequence[str], form: Form, *, force: bool, exit_code: bool = False
) -> int:
    """Print the plan as a table, JSON or a graph; with `exit_code` 1 if a step would run, or something fail."""
    if form.graph not in (None, "mermaid"):
        raise SpecError(Code.UNKNOWN_VALUE, f"unknown graph format {form.graph!r}", "the only one is mermaid")
    whole = force or form.as_json or form.graph is not None
    workspace, settled = open_unsettled(specs, only, use=not whole)
    if workspace is None:
        return _say_settled(settled, form)
    planned = make_plan(workspace, force=force)
    _tell(planned)
    causes = Causes(planned).of(planned.decisions) if form.why else {}
    foreseen = foresee(planned)
    failing = [one for one in foreseen if one.promise == "would fail"]
    stopping = contradictions(planned)
    bundles = _foreseen_bundles(planned)
    if form.as_json:
        chains = {"why": why_json(planned.plan, planned.decisions, causes)} if form.why else {}
        would_fail = {one.cell: [problem.fact for problem in one.problems] for one in failing}
        promises: dict[str, str] = {one.cell: one.promise for one in foreseen}
        record = plan_json(planned.plan, planned.decisions, promises)
        would_stop = [one.to_json() for one in stopping]
        more = {"bundles": {one.name: one.to_json() for one in bundles}} if bundles else {}
        say_json({**record, **more, "would_fail": would_fail, "would_stop": would_stop, **chains})
    elif form.graph:
        say(plan_mermaid(planned.plan, planned.decisions))
    elif form.why:
        say(why_text(planned.plan, planned.decisions, causes) or _NOTHING_RUNS)
    else:
        _say_rows(_rows(planned, settled))
    if not form.as_json:
        _say_more(bundles, failing, stopping)
    planned.workspace.state.save()
    stale = any(not one.current for one in bundles)
    return int(bool(failing or stopping or stale or runs(planned))) if exit_code else EXIT_DONE


def _say_settled(settled: Settled, form: Form) -> int:
    """A plan of which nothing had to be made."""
    if form.why:
        say(_NOTHING_RUNS)
    else:
        _say_rows(settled_rows(settled.steps))
    return EXIT_DONE


def _say_rows(rows: Sequence[Row]) -> None:
    say(plan_table(rows))
    say(plan_closing(rows))


def _rows(planned: Planned, settled: Settled) -> list[Row]:
    """Every step of the command, pipeline by pipeline in its order."""
    rows = plan_rows(planned.plan, planned.decisions)
    if not settled.pipelines:
        return rows
    own: dict[str, list[Row]] = {}
    for address, row in zip(planned.plan.steps, rows, strict=True):
        own.setdefault(address.pipeline, []).append(row)
    names = {one.path: one.spec.pipeline for one in planned.workspace.pipelines}
    found: list[Row] = []
    for name, one in settled.in_order(names):
        found += settled_rows(one.steps) if one is not None else own.get(name, [])
    return found


def _say_more(
    bundles: Sequence[ForeseenBundle], failing: Sequence[Foreseen], stopping: Sequence[Held]
) -> None:
    """Below a table or graph: bundles, cells that would fail, results that would stop the build."""
    for bundle in bundles:
        say(bundle.line())
    for one in failing:
        note(f"{one.cell} would fail: " + "; ".join(problem.fact for problem in one.problems))
    for held in stopping:
        note(f"the build would stop: {held.address} {CONTRADICTS}")


def _foreseen_bundles(planned: Planned) -> list[ForeseenBundle]:
    """What a build would do with the selected bundles; nothing is imported for projects without."""
    if not planned.workspace.bundles:
        return []
    from trtpipe.building.bundles.comparison import foreseen_bundles

    return foreseen_bundles(planned)


def explain_command(cell: str, specs: Sequence[str], *, as_json: bool) -> int:
    """Print the story of every step of the cells that `cell` matches."""
    planned = make_plan(
        open_workspace([*specs, cell] if "@" in cell else specs, () if "@" in cell else (cell,))
    )
    _tell(planned)
    actions = planned.actions()
    last = {address: planned.last_record(address) for address in planned.plan.steps}
    causes = Causes(planned).of(planned.decisions)
    if as_json:
        cells = [_story(planned, one.steps.values(), causes) for one in planned.plan.cells]
        told = [one for one in _foreseen_bundles(planned) if fnmatchcase(one.name, cell)]
        bundles = {"bundles": {one.name: one.to_json() for one in told}} if told else {}
        say_json({"schema": 1, "cells": cells, **bundles})
    else:
        stories = [
            f"# {one.name}\n\n{explain_cell(planned.plan, one, planned.decisions, actions, last, causes)}"
            for one in planned.plan.cells
        ]
        say("\n\n".join([*_explain_bundles(planned, cell), *stories]))
    planned.workspace.state.save()
    return EXIT_DONE


def _explain_bundles(planned: Planned, name: str) -> list[str]:
    """The story of the bundles with this name: what they are made of, and what changed since the lockfile."""
    return [
        f"# {one.name}\n\n{one.story()}" for one in _foreseen_bundles(planned) if fnmatchcase(one.name, name)
    ]


def _tell(planned: Planned) -> None:
    """Print problems of the local store and of remote ones."""
    for text in planned.workspace.store.warnings:
        note(f"warning: {text}")


def _story(
    planned: Planned, addresses: Iterable[Address], causes: Mapping[tuple[Address, str], Cause]
) -> list[dict[str, object]]:
    actions = planned.actions()
    story: list[dict[str, object]] = []
    for address in addresses:
        action = actions.get(address)
        record = action.fingerprint.record() if action else None
        last = planned.last_record(address)
        decision = planned.decisions[address]
        if isinstance(decision, Pending):
            changed = decision.changes
        else:
            changed = changes_between(last, record) if last is not None and record is not None else ()
        story.append(
            {
                "address": str(address),
                **decision_json(decision),
                "fingerprint": record,
                "last_fingerprint": last,
                "changes": [
                    {**change.to_json(), **_cause_json(causes.get((address, change.field)))}
                    for change in changed
                ],
                "follows_from": follows_from(planned.decisions, address),
            }
        )
    return story


def _cause_json(cause: Cause | None) -> dict[str, object]:
    if cause is None:
        return {"commit": None, "place": None}
    return {"commit": cause.commit.to_json() if cause.commit else None, "place": cause.place_json()}
