"""What `plan` says is what `build` then does, step by step and cell by cell, whatever was edited, undone or lost.

Stages are stand-ins; specs, plan, store, scheduler, judging and delivery are the real ones. A build that promises
nothing wrong could still promise too little, so what is left open is counted too.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.foreseeing.projects_of_all_kinds import AnyProject
from tests.foreseeing.stand_ins import StandIns
from trtpipe.building import stamp
from trtpipe.building.build import HowToBuild, run_build
from trtpipe.building.forecast import Foreseen, foresee
from trtpipe.building.outcome import Outcome
from trtpipe.building.performer import Performer
from trtpipe.building.planned import Planned, make_plan, nothing_to_do
from trtpipe.building.unchanged.settled import read_settled, remember, settled_for_check
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Run, UpToDate, promise_of
from trtpipe.plan.events import Event, StepBlocked, StepStarted
from trtpipe.plan.ports import ActionResult
from trtpipe.workspace.workspace import open_workspace


@dataclass
class Told:
    """An observer that remembers which steps were started and which blocked."""

    started: dict[Address, Run] = field(default_factory=dict)
    blocked: set[Address] = field(default_factory=set)

    def emit(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self.started.setdefault(event.address, event.decision)
        if isinstance(event, StepBlocked):
            self.blocked.add(event.address)


@contextmanager
def somewhere() -> Iterator[tuple[AnyProject, StandIns]]:
    """An empty directory with a project, in which stages are stand-ins."""
    before, stand_ins = Path.cwd(), StandIns()

    def perform(performer: Performer, *given: Any) -> ActionResult:
        return stand_ins(performer, *given)

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ),
        mock.patch.object(Performer, "__call__", perform),
    ):
        os.environ.pop("TRTPIPE_STORE", None)
        os.chdir(folder)
        try:
            project = AnyProject(Path(folder))
            project.write()
            yield project, stand_ins
        finally:
            os.chdir(before)


def planned_now(only: tuple[str, ...], *, force: bool) -> Planned:
    """A plan as a process of its own would make it."""
    settled = read_settled()
    planned = make_plan(open_workspace([], only), force=force)
    planned.workspace.state.save()
    return replace(planned, settled=settled)


def build(planned: Planned) -> tuple[Told, Outcome]:
    """What `trtpipe build --keep-going` does with a plan, but for proofs before and reports behind it."""
    told, outcome = Told(), Outcome()
    if nothing_to_do(planned):
        outcome.fresh = [cell.name for cell in planned.plan.cells]
    else:
        run_build(planned, told, outcome, HowToBuild(jobs=1, keep_going=True))
    remember(planned, [*outcome.built, *outcome.restored, *outcome.fresh])
    if not (outcome.failures or outcome.blocked):
        stamp.take(planned, (), planned.workspace.globs)
        planned.workspace.state.save()
    return told, outcome


def assert_steps_as_planned(planned: Planned, told: Told) -> None:
    """Every step did what its decision promised; work that two steps share is done once."""
    done = {decision.key for decision in told.started.values()}
    for address, decision in planned.decisions.items():
        promise = promise_of(decision)
        if promise == "will not run":
            assert address not in told.started, (address, decision, told.started[address])
        if promise == "will run":
            started = address in told.started or getattr(decision, "key", None) in done
            assert started or address in told.blocked, (address, decision)
        planned_key = getattr(decision, "key", None)
        if planned_key is not None and address in told.started:
            assert told.started[address].key == planned_key


def assert_cells_as_planned(foreseen: list[Foreseen], outcome: Outcome) -> None:
    """Every cell came to what was foreseen."""
    failed = {name: error.problems for name, error in outcome.failures}
    for one in foreseen:
        match one.promise:
            case "up to date":
                assert one.cell in outcome.fresh, one
            case "to be delivered":
                assert one.cell in outcome.restored, one
            case "would fail":
                assert failed.get(one.cell) == one.problems, one
            case "open":
                assert one.cell in {
                    *outcome.built,
                    *outcome.restored,
                    *outcome.fresh,
                    *outcome.blocked,
                    *failed,
                }, one


def assert_settled_as_planned(planned: Planned, counts: Counter[str]) -> None:
    """Pipelines that need no plan are those of which a plan says that nothing is left to do."""
    for one in settled_for_check(()).pipelines.values():
        counts["settled"] += 1
        steps = [address for address in planned.plan.steps if address.pipeline == one.name]
        cells = [cell.name for cell in planned.plan.cells if cell.pipeline == one.name]
        if not planned.workspace.globs:
            assert (one.steps, one.cells) == (tuple(map(str, steps)), tuple(cells))
        if not planned.decided.rebuilder.forced:
            assert not planned.undelivered & set(cells)
            assert all(isinstance(planned.decisions[address], UpToDate) for address in steps), one.name


def plan_and_build(only: tuple[str, ...], counts: Counter[str], *, force: bool = False) -> Outcome:
    """Plan, then build from a plan of its own, and hold one against the other."""
    planned = planned_now(only, force=force)
    foreseen = foresee(planned)
    unchanged = stamp.is_unchanged((), only) and not force
    assert not unchanged or nothing_to_do(planned)
    assert_settled_as_planned(planned, counts)
    counts.update(one.promise for one in foreseen)
    counts.update(promise_of(one) for one in planned.decisions.values())

    own = planned_now(only, force=force)
    assert own.decisions == planned.decisions
    told, outcome = build(own)

    assert_steps_as_planned(planned, told)
    assert_cells_as_planned(foreseen, outcome)
    return outcome


def assert_nothing_left_to_do(only: tuple[str, ...], outcome: Outcome) -> None:
    """A build leaves nothing to do but what failed, and the next one would fail in the same way."""
    planned = planned_now(only, force=False)
    failed = {name: error.problems for name, error in outcome.failures}
    missing = {*failed, *outcome.blocked}
    for one in foresee(planned):
        assert one.promise == "up to date" or one.cell in missing
        assert one.promise != "would fail" or one.problems == failed.get(one.cell, one.problems)
    if not missing:
        assert all(isinstance(one, UpToDate) for one in planned.decisions.values())


def live(rng: random.Random, *, events: int) -> Counter[str]:
    """A random life of a project; what was promised, counted."""
    counts: Counter[str] = Counter()
    with somewhere() as (project, stand_ins):
        for _ in range(events):
            for _ in range(rng.randint(0, 2)):
                project.edit(rng)
            if rng.random() < 0.4:
                project.lose(rng)
            stages = ["import", "calibrate", "search", "quantize", "validate", "parse", "build_engine"]
            stand_ins.broken = {rng.choice(stages)} if rng.random() < 0.15 else set()
            only = (f"*/{rng.choice(project.now.variants)}@*",) if rng.random() < 0.25 else ()
            outcome = plan_and_build(only, counts, force=rng.random() < 0.1)
            assert_nothing_left_to_do(only, outcome)
    return counts


@settings(max_examples=3)
@given(st.integers(0, 2**32))
def test_plan_says_what_build_does(seed):
    live(random.Random(seed), events=3)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_plan_says_what_build_does_in_long_lives(seed):
    live(random.Random(seed), events=10)
