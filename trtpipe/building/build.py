"""`plan` and `build`: facts, plan and decisions, then the scheduler; cells are delivered as they complete.

A build with nothing to do stops after the decisions: it has only read the specs and the state, and called stat on
files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trtpipe.building.engines.proving import ProvedCells, Proving
from trtpipe.building.frozen import KeptTo
from trtpipe.building.lock_writer import refresh_lock, refuse_conflict_elsewhere
from trtpipe.building.outcome import Outcome
from trtpipe.building.performer import Terms
from trtpipe.building.planned import Planned, runs
from trtpipe.building.problem_places import placed
from trtpipe.building.steps import Steps
from trtpipe.delivery.cells import Delivery
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, Interrupted, TrtpipeError
from trtpipe.lockfile import Lock
from trtpipe.plan.address import Address, Stage
from trtpipe.plan.events import Warned
from trtpipe.plan.graph import Cell, Outputs, action_of
from trtpipe.plan.ports import Observer
from trtpipe.plan.rebuilder import Rebuilder, decide_all
from trtpipe.plan.scheduler import Done, Failed, Result, told_of
from trtpipe.problem_codes import Code
from trtpipe.processes.interrupts import counting_interrupts
from trtpipe.stores.local import LocalStore
from trtpipe.timings import span
from trtpipe.workspace.held_steps import ResultDiffers, contradiction, held_step, refuse_contradictions
from trtpipe.workspace.leftovers import sweep_project

if TYPE_CHECKING:
    from trtpipe.building.on_fleet import FleetUse

_MOST_AGAIN = 2
"""How often a step is made again if the store loses its result just before delivery."""


@dataclass(frozen=True, slots=True)
class HowToBuild:
    """Settings of a build; none of them changes a result."""

    jobs: int
    """How many steps run at a time."""
    keep_going: bool = False
    offline: bool = False
    frozen: Lock | None = None
    """With it, cells are delivered at the end, if all of them match that lockfile, and it is not written. Without, a
    result from the store that contradicts the lockfile ends the build."""
    fleet: FleetUse | None = None
    """The fleet that runs the steps; None if this machine does."""
    proving: Proving | None = None
    """What runs delivered engines on GPUs; None if the build runs none."""


def run_build(
    planned: Planned,
    observer: Observer,
    outcome: Outcome,
    how: HowToBuild,
) -> None:
    """Run the steps that must run and deliver every cell that completes. Raises Interrupted after Ctrl-C.

    Fills `outcome`, also when it raises. Raises StoreError or TrtpipeError before anything runs, when the store or the
    lockfile could not take the results.
    """
    outcome.locked = planned.site.lock.cells
    refuse_conflict_elsewhere(planned)
    delivery = delivery_of(planned, observer)
    if how.proving is not None:
        delivery.why_not_run = how.proving.why_not_run
    kept_to = KeptTo(how.frozen, delivery) if how.frozen else None
    course = _Course(planned, delivery, outcome, ProvedCells(delivery, outcome, how.proving), kept_to)
    forced = planned.decided.rebuilder.forced
    anew = len(forced) == len(planned.plan.steps)
    writes = bool(runs(planned))
    terms = Terms(
        how.jobs, how.offline, forced, evaluate_anew=anew, frozen=how.frozen is not None, by_rules=True,
        quiet=False, writes=writes, fleet=how.fleet,
    )  # fmt: skip
    if writes or planned.decided.undelivered:
        settled = {one.name for one in planned.settled.pipelines.values()}
        sweep_project(planned.workspace.root, planned.workspace.build, settled)
    with counting_interrupts() as presses, planned.steps(observer, terms) as steps:
        if how.fleet is not None:
            how.fleet.refuse_unserved(steps, planned.decisions)
        try:
            _go_through(course, steps, how.keep_going, presses)
        except ResultDiffers as error:
            outcome.failures.append((error.name, error))
        _finish(course, steps, presses)  # a second Ctrl-C must not lose the lockfile
        if presses():
            raise Interrupted(
                Code.INTERRUPTED, "interrupted", "finished steps are kept; run it again to continue"
            )


def _go_through(course: _Course, steps: Steps, keep_going: bool, presses: Callable[[], int]) -> None:
    """Run the plan and deliver what completes.

    If the store turns out to have lost something of a cell, the cell is planned again: its new decisions say what must
    run again.
    """
    plan, decided = course.planned.plan, course.planned.decided
    again: Counter[Address] = Counter()
    while True:
        for address, result in steps.run(plan, decided, keep_going=keep_going, interrupted=presses):
            course.take(address, result, steps)
        stopped = not keep_going and any(isinstance(one, Failed) for one in steps.results.values())
        cells = () if stopped else course.lost_cells()
        plan = replace(plan.upto({one for cell in cells for one in cell.steps.values()}), cells=cells)
        decided = decide_all(plan, Rebuilder(decided.rebuilder.past))
        lost = decided.rebuilder.lost
        again.update(lost)
        if not lost or presses() or any(again[one] > _MOST_AGAIN for one in lost):
            course.give_up()
            return
        course.lost.clear()


def delivery_of(planned: Planned, observer: Observer) -> Delivery:
    """The object that delivers the plan's cells."""
    return Delivery(planned.workspace, planned.specs, observer, planned.targets, planned.plan.steps)


@dataclass(slots=True)
class _Course:
    """Follows a run, and delivers each cell once its steps are all done."""

    planned: Planned
    delivery: Delivery
    outcome: Outcome
    proved: ProvedCells
    kept_to: KeptTo | None = None
    lost: dict[str, TrtpipeError] = field(default_factory=dict)
    """Cells that could not be delivered because the store had lost something."""
    known: dict[Address, Outputs] = field(default_factory=dict)
    """The outputs of finished steps."""
    pending: dict[str, Cell] = field(init=False)
    cells_of: dict[Address, list[Cell]] = field(init=False)
    """Step → the cells that it serves."""
    awaited: dict[str, int] = field(init=False)
    """Cell → how many of its steps are not done, so that the end of a step does not look at all others."""

    def __post_init__(self) -> None:
        self.pending = {cell.name: cell for cell in self.planned.plan.cells}
        self.awaited = {cell.name: len(set(cell.steps.values())) for cell in self.pending.values()}
        self.cells_of = {}
        for cell in self.pending.values():
            for address in dict.fromkeys(cell.steps.values()):
                self.cells_of.setdefault(address, []).append(cell)

    def take(self, address: Address, result: Result, steps: Steps) -> None:
        """Handle the end of a step."""
        cells = self.cells_of.get(address, ())
        if isinstance(result, Done):
            first = address not in self.known
            self._hold(address, result, steps.store)
            for cell in cells:
                self.awaited[cell.name] -= first
                if not self.awaited[cell.name] and cell.name in self.pending:
                    self._deliver(cell, dict(_done_steps(cell, steps)))
        elif self.known.pop(address, None) is not None:  # it was made again, in vain
            for cell in cells:
                self.awaited[cell.name] += 1
        self.proved.take_ended()
        tell_warnings(self.planned.workspace.store, self.delivery.observer)

    def _hold(self, address: Address, result: Done, store: LocalStore) -> None:
        """Compare a step's result with the lockfile. Raises ResultDiffers."""
        self.known[address] = result.outputs
        step = self.planned.plan.steps[address]
        if step.stage == "build_engine":
            return
        said = (self.planned.site.lock, address, result.outputs, lambda: action_of(step, self.known), store)
        if self.kept_to is not None:
            self.kept_to.hold(held_step(*said))
        elif result.trace is None and (found := contradiction(*said)) is not None:
            refuse_contradictions([found])

    def _deliver(self, cell: Cell, done: Mapping[Stage, Done]) -> None:
        self.lost.pop(cell.name, None)
        ran = done["build_engine"].trace is not None
        keys = {stage: result.key for stage, result in done.items()}
        try:
            if self.kept_to is not None:
                self.kept_to.take(cell, keys, built=ran)
            else:
                changed = False
                if not self._stands(cell, done):
                    with span(f"deliver {cell.name}", "build"):
                        changed = self.delivery.deliver(cell, keys, built=ran)
                self.outcome.count(cell.name, ran=ran, changed=changed)
                self.proved.begin(cell, keys)
        except TrtpipeError as error:
            if isinstance(error, (ArtifactMissing, ArtifactDamaged)):
                self.lost[cell.name] = error
                return
            self.outcome.failures.append((cell.name, error))
        del self.pending[cell.name]

    def _stands(self, cell: Cell, done: Mapping[Stage, Done]) -> bool:
        """Whether the cell was in place when the plan was made, and no step of it ran since."""
        return cell.name not in self.planned.undelivered and all(one.trace is None for one in done.values())

    def lost_cells(self) -> tuple[Cell, ...]:
        """The cells that could not be delivered because the store lost something."""
        return tuple(self.pending[name] for name in self.lost)

    def give_up(self) -> None:
        """Mark cells as failed whose lost results cannot be made again, or whose build was stopped."""
        for name, error in self.lost.items():
            del self.pending[name]
            self.outcome.failures.append((name, error))


def _done_steps(cell: Cell, steps: Steps) -> Iterator[tuple[Stage, Done]]:
    for stage, address in cell.steps.items():
        result = steps.results.get(address)
        if isinstance(result, Done):
            yield stage, result


def tell_warnings(store: LocalStore, observer: Observer) -> None:
    """Pass the store's warnings on."""
    while store.warnings:
        observer.emit(Warned(store.warnings.pop(0)))


def _finish(course: _Course, steps: Steps, presses: Callable[[], int]) -> None:
    """Sum up, and write the lockfile and then the state; an error in one does not prevent the other."""
    planned, outcome = course.planned, course.outcome
    results = steps.results.items()
    outcome.failures[:0] = [
        (str(address), placed(planned.workspace, address, one.error))
        for address, one in results
        if isinstance(one, Failed)
    ]
    outcome.steps = {str(address): told_of(one) for address, one in results}
    outcome.placed = tuple(steps.terms.fleet.timeline) if steps.terms.fleet is not None else ()
    failed = {name for name, _ in outcome.failures}
    outcome.blocked = [name for name in course.pending if name not in failed]
    try:
        if course.kept_to is not None:
            for cell, keys in course.kept_to.deliver(outcome):
                course.proved.begin(cell, keys)
        course.proved.wait(presses)
        bundles = _complete_bundles(course, steps) if planned.workspace.bundles and not presses() else []
        if course.kept_to is None:
            with span("write the lockfile", "build"):
                names = [*outcome.built, *outcome.restored, *outcome.fresh]
                outcome.lock_changed = refresh_lock(planned, names, bundles)
    finally:
        with span("save the state", "build"):
            planned.workspace.state.save()


def _complete_bundles(course: _Course, steps: Steps) -> list[str]:
    """Bring the selected bundles to their end; the names of those that are complete."""
    from trtpipe.building.bundles.completion import complete_bundles

    lock = course.kept_to.lock if course.kept_to is not None else None
    return complete_bundles(course.planned, course.outcome, course.delivery.observer, steps.terms, lock)


def default_jobs() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
