"""Differences from the lockfile that make a build stop before anything runs.

A `--frozen` build stops at everything that contradicts the lockfile. Any build stops if the store has a different
result than the lockfile for the same recipe, packages and processor: one of the two was tampered with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from trtpipe.building.lock_comparison import Comparison, compare_with_lock, held_here
from trtpipe.errors import LockMismatch, Problem, SpecError
from trtpipe.lockfile import Lock, fact_in, shown_digest
from trtpipe.lockfile.comparison import mismatch
from trtpipe.lockfile.entries import SCHEMA
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Restore, UpToDate
from trtpipe.plan.events import Event
from trtpipe.plan.graph import Action
from trtpipe.problem_codes import Code
from trtpipe.workspace.held_steps import (
    Held,
    agreement_events,
    contradiction,
    refuse_contradictions,
)

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned

ENGINE = "model.engine"
BUILD_REMEDY = "run `trtpipe build` and commit the lockfile, or undo the change"


@dataclass(frozen=True, slots=True)
class Agreed:
    """A lockfile that agrees with a plan, as far as that is known without running anything."""

    lock: Lock
    comparison: Comparison

    def events(self, planned: Planned) -> Iterator[Event]:
        """Notes about results that agree although versions or processors differ."""
        told = self.comparison.told
        held = [one for cell in planned.plan.cells for one in held_here(planned, self.lock, cell, told)]
        yield from agreement_events(held, self.comparison.excused)


def contradictions(planned: Planned) -> list[Held]:
    """Results in the store that differ from the lockfile without an explanation."""
    lock, store = planned.site.lock, planned.workspace.store
    actions = cache(planned.actions)  # computed only when needed: slow for a thousand cells
    found = []

    def action(address: Address) -> Action:
        return actions()[address]

    for address, decision in planned.decisions.items():
        if isinstance(decision, (UpToDate, Restore)) and address.stage != "build_engine":
            one = contradiction(lock, address, decision.outputs, partial(action, address), store)
            found += [one] if one is not None else []
    return [*found, *_contradicting_engines(planned, lock)]


def refuse_contradicting_store(planned: Planned) -> None:
    """Raises LockMismatch when a result in the store differs from the lockfile without an explanation."""
    refuse_contradictions(contradictions(planned))


def _contradicting_engines(planned: Planned, lock: Lock) -> Iterator[Held]:
    """Engines with a key of the lockfile but other bytes; not for flavour tensorrt, which never builds two alike."""
    for cell in planned.plan.cells:
        address = cell.steps["build_engine"]
        decision = planned.decisions[address]
        if not isinstance(decision, (UpToDate, Restore)):
            continue
        if fact_in(lock.cells, cell.name, "key") != decision.key:
            continue
        here = shown_digest(decision.outputs[ENGINE])
        if (
            here == fact_in(lock.cells, cell.name, "engine")
            or cell.facts["toolchain"]["flavour"] == "tensorrt"
        ):
            continue
        locked = lock.cells[cell.name]
        trace = planned.workspace.store.trace(decision.key)
        built = trace.summary if trace is not None else {}
        fixed = built.get("addresses") == "fixed" and locked.get("address_randomisation") == "off"
        if fixed and built.get("normalised") != locked.get("normalised"):
            yield Held(address, {ENGINE: (str(locked.get("engine")), here)})


def refuse_differences(planned: Planned) -> Agreed:
    """For `--frozen`: the lockfile, if nothing that is known without running contradicts it.

    Raises LockMismatch when something does, SpecError when a remote source has no pin.
    """
    refuse_unpinned(planned)
    lock = planned.site.lock
    path = planned.workspace.lockfile
    if not path.exists():
        raise LockMismatch(Code.NO_LOCKFILE, f"there is no lockfile {path}", BUILD_REMEDY)
    if lock.conflict:
        raise LockMismatch(
            Code.LOCK_CONFLICT,
            f"the lockfile {path} contains a merge conflict",
            "run `trtpipe build`: it resolves the conflict",
        )
    if lock.schema != SCHEMA:
        fact = f"the lockfile {path} has schema {lock.schema}, but schema {SCHEMA} is needed here"
        raise LockMismatch(Code.LOCK_SCHEMA, fact, "run `trtpipe build` once and commit the lockfile")
    comparison = compare_with_lock(planned, lock)
    if comparison.differences:
        raise mismatch(comparison.differences, BUILD_REMEDY)
    return Agreed(lock, comparison)


def refuse_unpinned(planned: Planned) -> None:
    """Raises SpecError with every remote source without a pin, because its bytes could change without a commit."""
    from trtpipe.building.remote_files import fetch_facts

    problems: list[Problem] = []
    for pipeline in planned.workspace.pipelines:
        if not pipeline.remotes or not any(
            cell.pipeline == pipeline.spec.pipeline for cell in planned.plan.cells
        ):
            continue
        fetch = fetch_facts(pipeline)
        for name, file in fetch.files.items():
            if not file.sha256:
                fact = f"{file.shown} has no pin, but a --frozen build needs one"
                remedy = "`trtpipe check` prints the sha256 line to paste"
                problems.append(
                    pipeline.locate(Problem(Code.NOT_PINNED, fact, remedy, path=fetch.places[name]))
                )
    if problems:
        raise SpecError(problems)
