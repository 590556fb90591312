"""`trtpipe plan` and `trtpipe explain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.plan.decisions import decision_json
from trtpipe.plan.fingerprint import changes_between
from trtpipe.rendering.plans import explain_cell, plan_closing, plan_json, plan_mermaid, plan_table
from trtpipe.system.building import Planned, make_plan
from trtpipe.system.workspace import open_workspace


def plan_command(
    specs: Sequence[str], only: Sequence[str], *, as_json: bool, graph: str | None, force: bool
) -> int:
    """Print the plan as a table, JSON or a graph."""
    if graph not in (None, "mermaid"):
        raise SpecError(f"unknown graph format {graph!r}", "the only one is mermaid")
    planned = make_plan(open_workspace(specs, only), force=force)
    _tell(planned)
    if as_json:
        say_json(plan_json(planned.plan, planned.decisions))
    elif graph:
        say(plan_mermaid(planned.plan, planned.decisions))
    else:
        say(plan_table(planned.plan, planned.decisions))
        say(plan_closing(planned.decisions))
    planned.workspace.state.save()
    return EXIT_DONE


def explain_command(cell: str, specs: Sequence[str], *, as_json: bool) -> int:
    """Print the story of every step of the cells that `cell` matches."""
    planned = make_plan(
        open_workspace([*specs, cell] if "@" in cell else specs, () if "@" in cell else (cell,))
    )
    _tell(planned)
    actions = planned.actions()
    last = {address: planned.last_record(address) for address in planned.plan.steps}
    if as_json:
        say_json({"schema": 1, "cells": [_story(planned, one.steps.values()) for one in planned.plan.cells]})
    else:
        stories = [
            f"# {one.name}\n\n{explain_cell(one, planned.decisions, actions, last)}"
            for one in planned.plan.cells
        ]
        say("\n\n".join(stories))
    planned.workspace.state.save()
    return EXIT_DONE


def _tell(planned: Planned) -> None:
    """What is wrong with a store, its own or one that is shared."""
    for text in planned.workspace.store.warnings:
        note(f"warning: {text}")


def _story(planned: Planned, addresses: Iterable[str]) -> list[dict[str, object]]:
    actions = planned.actions()
    story = []
    for address in addresses:
        action = actions.get(address)
        record = action.fingerprint.record() if action else None
        last = planned.last_record(address)
        changed = changes_between(last, record) if last is not None and record is not None else ()
        story.append(
            {
                "address": address,
                **decision_json(planned.decisions[address]),
                "fingerprint": record,
                "last_fingerprint": last,
                "changes": [change.to_json() for change in changed],
            }
        )
    return story
