"""`plan` and `build`: facts, plan, decisions, then the scheduler; cells are delivered as they complete.

A build with nothing to do stops after the decisions: it has read the specs, the state and a stat for each file.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from trtpipe.deciding import Memory, Outputs, Rebuilder, decide_all
from trtpipe.digests import Digest
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, Interrupted, PlanError, SpecError, TrtpipeError
from trtpipe.executors.local import LocalExecutor
from trtpipe.lockfile import Lock, agrees, choices_in, load_lock
from trtpipe.plan.decisions import Decision, Restore, UpToDate
from trtpipe.plan.events import Warned
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action, Cell, Plan, Stage, Step, action_of, plan_of
from trtpipe.plan.ports import Observer
from trtpipe.planning import steps_of
from trtpipe.planning.facts import PipelineFacts
from trtpipe.scheduler import Done, Failed, Scheduler, told_of
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.stores.local import LocalStore
from trtpipe.system.delivering import Delivery, content_of, policy_of
from trtpipe.system.facts import FactFinder
from trtpipe.system.interrupts import counting_interrupts
from trtpipe.system.keeping import KeptTo
from trtpipe.system.locking import refresh_lock, refuse_conflict_elsewhere
from trtpipe.system.outcome import Outcome
from trtpipe.system.performing import performer_of
from trtpipe.system.placing import placed
from trtpipe.system.prefetching import prefetch_traces
from trtpipe.system.targets import TargetResolver
from trtpipe.system.workspace import Workspace


@dataclass(slots=True)
class Planned:
    """A plan with its decisions, before anything runs."""

    workspace: Workspace
    plan: Plan
    decisions: dict[str, Decision]
    rebuilder: Rebuilder
    specs: Mapping[str, PipelineSpec]
    facts: Mapping[str, PipelineFacts]
    targets: TargetResolver
    undelivered: Collection[str]
    """Cells whose files are not all in place."""
    declared: frozenset[str] = frozenset()
    """The addresses of all steps that the specs declare, those of cells that are not wanted included."""

    def actions(self) -> dict[str, Action]:
        """The action of every step whose inputs are known."""
        outputs = _known_outputs(self.decisions)
        return {
            address: action_of(step, outputs)
            for address, step in self.plan.steps.items()
            if all(up in outputs for up in step.upstream())
        }

    def last_record(self, address: str) -> Record | None:
        """The fingerprint record of a step's last success here."""
        return self.rebuilder.memory.last_record(address)


def make_plan(workspace: Workspace, *, force: bool = False, search_again: bool = False) -> Planned:
    """Facts, steps and decisions; `search_again` forces searches only.

    Raises SpecError with every problem of every pipeline.
    """
    targets = TargetResolver()
    finder = FactFinder(workspace.state, targets)
    facts = {one.spec.pipeline: finder.facts_of(one) for one in workspace.pipelines}
    if finder.problems:
        raise SpecError(finder.problems)
    specs = {one.spec.pipeline: one.spec for one in workspace.pipelines}
    found = {name: known for name, known in facts.items() if known is not None}
    plan, declared = _selected(workspace, specs, found)
    prefetch_traces(plan, workspace.store, workspace.state)
    memory = _memory(workspace)
    searches = {address for address, step in plan.steps.items() if search_again and step.stage == "search"}
    rebuilder = Rebuilder(memory, forced=frozenset(plan.steps if force else searches))
    decisions, undelivered = _decide(workspace, plan, specs, rebuilder)
    return Planned(workspace, plan, decisions, rebuilder, specs, found, targets, undelivered, declared)


def _selected(
    workspace: Workspace, specs: Mapping[str, PipelineSpec], facts: Mapping[str, PipelineFacts]
) -> tuple[Plan, frozenset[str]]:
    """The plan of the cells that are wanted, and the addresses of all steps."""
    steps: dict[str, Step] = {}
    cells: list[Cell] = []
    addresses: set[str] = set()
    for name, spec in specs.items():
        made, declared = steps_of(spec, facts[name])
        addresses |= made.keys()
        wanted = [cell for cell in declared if workspace.wants(cell.name)]
        needed = _with_upstream(made, {address for cell in wanted for address in cell.steps.values()})
        steps.update({address: step for address, step in made.items() if address in needed})
        cells += wanted
    if not cells:
        raise PlanError("no cell is left to build")
    return plan_of(steps, tuple(cells)), frozenset(addresses)


def _with_upstream(steps: Mapping[str, Step], needed: set[str]) -> set[str]:
    """Steps and all that they take something from: a variant may be validated against another one."""
    pending = list(needed)
    while pending:
        for up in steps[pending.pop()].upstream():
            if up not in needed:
                needed.add(up)
                pending.append(up)
    return needed


def _memory(workspace: Workspace) -> Memory:
    state, store = workspace.state, workspace.store

    @functools.cache
    def locked() -> Mapping[str, Record]:
        return choices_in(load_lock(workspace.lockfile).every_entry())

    def outputs_of(address: str, key: str) -> Outputs | None:
        if address.endswith(":search"):
            found = store.trace(key)
            return found.outputs if found is not None and agrees(found, locked()) else None
        known = state.last_outputs(address, key)
        if known is not None:
            return known
        trace = store.trace(key)
        return trace.outputs if trace is not None else None

    def last_record(address: str) -> Record | None:
        key = state.last_key(address)
        trace = store.trace(key) if key else None
        return trace.fingerprint if trace else None

    return Memory(outputs_of, last_record, store.has)


def _decide(
    workspace: Workspace, plan: Plan, specs: Mapping[str, PipelineSpec], rebuilder: Rebuilder
) -> tuple[dict[str, Decision], set[str]]:
    """Decisions, and the cells that are not delivered.

    A cell that must be delivered again needs the traces and artifacts of all its steps; where the store has lost
    one, that step runs again.
    """
    state = workspace.state
    policies = {
        (name, variant): policy_of(spec, variant) for name, spec in specs.items() for variant in spec.variants
    }
    delivered: dict[str, bool] = {}
    while True:
        decisions = decide_all(plan, rebuilder)
        ready = [
            cell
            for cell in plan.cells
            if all(isinstance(decisions[address], UpToDate) for address in cell.steps.values())
        ]
        for cell in ready:
            if cell.name not in delivered:
                policy = policies[cell.pipeline, cell.variant]
                delivered[cell.name] = state.delivered(
                    cell.name, content_of(cell, policy, _keys(cell, decisions))
                )
        absent = [cell for cell in ready if not delivered[cell.name]]
        lost = {address for cell in absent for address in _lost_steps(workspace, cell, decisions)}
        if not lost - rebuilder.wanted_again:
            break
        rebuilder.wanted_again |= lost
    _mark_restores(absent, decisions)
    there = {cell.name for cell in ready if delivered[cell.name]}
    return decisions, {cell.name for cell in plan.cells} - there


def _keys(cell: Cell, decisions: Mapping[str, Decision]) -> dict[Stage, str]:
    found = {stage: decisions[address] for stage, address in cell.steps.items()}
    return {stage: one.key for stage, one in found.items() if isinstance(one, UpToDate)}


def _lost_steps(workspace: Workspace, cell: Cell, decisions: Mapping[str, Decision]) -> Iterator[str]:
    for address in cell.steps.values():
        decision = decisions[address]
        assert isinstance(decision, UpToDate)
        whole = all(map(workspace.store.has, decision.outputs.values()))
        if not whole or workspace.store.trace(decision.key) is None:
            yield address


def _mark_restores(absent: Iterable[Cell], decisions: dict[str, Decision]) -> None:
    for cell in absent:
        address = cell.steps["build_engine"]
        decision = decisions[address]
        if isinstance(decision, UpToDate):
            decisions[address] = Restore(decision.key, decision.outputs, (f"{cell.directory}/",))


def _known_outputs(decisions: Mapping[str, Decision]) -> dict[str, Mapping[str, Digest]]:
    return {
        address: decision.outputs
        for address, decision in decisions.items()
        if isinstance(decision, (UpToDate, Restore))
    }


def nothing_to_do(planned: Planned) -> bool:
    """Whether every step is up to date, every cell is delivered and the lockfile says so."""
    if any(not isinstance(decision, UpToDate) for decision in planned.decisions.values()):
        return False
    return not planned.undelivered


def run_build(
    planned: Planned,
    observer: Observer,
    outcome: Outcome,
    *,
    jobs: int,
    keep_going: bool = False,
    offline: bool = False,
    frozen: Lock | None = None,
) -> None:
    """Run what must run and deliver every cell that completes. Raises Interrupted after Ctrl-C.

    With `frozen`, cells are delivered in the end, when all of them are what that lockfile says, and it is not written.

    Fills `outcome`, also when it raises. Raises StoreError or TrtpipeError before anything runs, when the store or the
    lockfile could not take the results.
    """
    workspace = planned.workspace
    lock = load_lock(workspace.lockfile)
    outcome.locked, locked = lock.cells, choices_in(lock.every_entry())
    refuse_conflict_elsewhere(planned)
    if runs(planned):
        workspace.store.open()
    again = planned.rebuilder.forced
    anew = len(again) == len(planned.plan.steps)
    performer = performer_of(
        workspace, observer, lock, offline=offline, again=again, evaluate_anew=anew, frozen=frozen is not None
    )
    executor = LocalExecutor(
        workspace.store,
        performer,
        jobs=jobs,
        observer=observer,
        forced=planned.rebuilder.forced,
        trusted=lambda trace: not trace.address.endswith(":search") or agrees(trace, locked),
    )
    delivery = delivery_of(planned, observer)
    course = _Course(planned, delivery, outcome, KeptTo(frozen, delivery) if frozen is not None else None)
    with counting_interrupts() as presses:
        course.scheduler = Scheduler(
            planned.plan,
            planned.rebuilder,
            executor,
            observer,
            keep_going=keep_going,
            on_done=course.on_done,
            interrupted=presses,
        )
        try:
            course.scheduler.run()
        except Interrupted:
            _finish(course)
            raise
        finally:
            executor.close()
    _finish(course)


def delivery_of(planned: Planned, observer: Observer) -> Delivery:
    """What puts the plan's cells into place."""
    return Delivery(planned.workspace, planned.specs, observer, planned.targets, planned.plan.steps)


@dataclass(slots=True)
class _Course:
    """Follows a run: remembers each step, delivers each cell whose steps are all done."""

    planned: Planned
    delivery: Delivery
    outcome: Outcome
    kept_to: KeptTo | None = None
    scheduler: Scheduler = field(init=False)
    pending: dict[str, Cell] = field(init=False)

    def __post_init__(self) -> None:
        self.pending = {cell.name: cell for cell in self.planned.plan.cells}

    def on_done(self, address: str) -> None:
        results = self.scheduler.results
        done = results[address]
        assert isinstance(done, Done)
        self.planned.workspace.state.remember_step(address, done.key, done.outputs)
        for cell in [cell for cell in self.pending.values() if address in cell.steps.values()]:
            if all(isinstance(results.get(step), Done) for step in cell.steps.values()):
                self._deliver(cell)
        tell_warnings(self.planned.workspace.store, self.delivery.observer)

    def _deliver(self, cell: Cell) -> None:
        done: dict[Stage, Done] = {}
        for stage, address in cell.steps.items():
            result = self.scheduler.results[address]
            assert isinstance(result, Done)
            done[stage] = result
        ran = done["build_engine"].trace is not None
        try:
            keys = {stage: result.key for stage, result in done.items()}
            if self.kept_to is not None:
                self.kept_to.take(cell, keys, built=ran)
                del self.pending[cell.name]
                return
            changed = self.delivery.deliver(cell, keys, built=ran)
        except TrtpipeError as error:
            lost = isinstance(error, (ArtifactMissing, ArtifactDamaged)) and self._make_again(cell, done)
            if not lost:
                del self.pending[cell.name]
                self.outcome.failures.append((cell.name, error))
            return
        del self.pending[cell.name]
        self.outcome.count(cell.name, ran=ran, changed=changed)

    def _make_again(self, cell: Cell, done: Mapping[Stage, Done]) -> bool:
        """Run the steps again whose results the store turned out to have lost; whether there are any."""
        store = self.planned.workspace.store
        lost = [
            cell.steps[stage]
            for stage, result in done.items()
            if store.trace(result.key) is None or not all(map(store.has, result.outputs.values()))
        ]
        return bool(lost) and all(self.scheduler.make_again(one, f"what {one} made") for one in lost)


def tell_warnings(store: LocalStore, observer: Observer) -> None:
    """Pass on what the store had to warn of."""
    while store.warnings:
        observer.emit(Warned(store.warnings.pop(0)))


def _finish(course: _Course) -> None:
    """Sum up, and write down what is delivered, the lockfile first; neither keeps the other from being written."""
    planned, outcome = course.planned, course.outcome
    results = course.scheduler.results.items()
    outcome.failures[:0] = [
        (address, placed(planned.workspace, address, one.error))
        for address, one in results
        if isinstance(one, Failed)
    ]
    outcome.steps = {address: told_of(one) for address, one in results}
    failed = {name for name, _ in outcome.failures}
    outcome.blocked = [name for name in course.pending if name not in failed]
    try:
        if course.kept_to is not None:
            course.kept_to.deliver(outcome)
        else:
            outcome.lock_changed = refresh_lock(planned, [*outcome.built, *outcome.restored, *outcome.fresh])
    finally:
        planned.workspace.state.save()


def default_jobs() -> int:
    """As many as this process may use cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def runs(planned: Planned) -> list[str]:
    """The addresses of the steps that must run, or may have to."""
    return [
        address
        for address, decision in planned.decisions.items()
        if not isinstance(decision, (UpToDate, Restore))
    ]
