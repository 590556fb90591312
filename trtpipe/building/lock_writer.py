"""Writes the lockfile: the facts of delivered cells, and for each of their steps the request and the result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from trtpipe.files import held
from trtpipe.lockfile import Blocks, StepEntry, Update, entry_in, shown_digest
from trtpipe.lockfile.entries import MADE_ON, MADE_WITH, RECIPE, Entry
from trtpipe.lockfile.recipes import (
    recipe_of,
    same_result,
    shown_versions,
    versions_in,
)
from trtpipe.lockfile.writer import refuse_undecided, update_lock
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import UpToDate
from trtpipe.plan.graph import Action, Cell, FromStep, Outputs, action_of
from trtpipe.processes.processor import PROCESSOR, RUNS_MODELS, processor_kind
from trtpipe.workspace.held_steps import MEASURING
from trtpipe.workspace.workspace import STATE_DIRECTORY, cell_names

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned


def refresh_lock(planned: Planned, delivered: Collection[str], bundles: Collection[str] = ()) -> bool:
    """Update the lockfile for the delivered cells and complete bundles; returns whether it changed."""
    return write_entries(planned, _noted(planned, delivered), _noted(planned, bundles))


def _noted(planned: Planned, names: Collection[str]) -> Blocks[Entry]:
    """The lock entries of cells and bundles that were delivered."""
    found = {name: planned.workspace.state.lock_text(name) for name in names}
    return Blocks({name: text for name, text in found.items() if text is not None}, entry_in)


def write_entries(
    planned: Planned, entries: Mapping[str, Entry], bundles: Mapping[str, Entry] | None = None
) -> bool:
    """Write the facts of these cells and bundles, and of the steps that they need, into the lockfile.

    Returns whether it changed.
    """
    workspace = planned.workspace
    lock, settled = workspace.root / STATE_DIRECTORY / "lockfile.lock", planned.settled
    with held(lock), settled.writing_lockfile(workspace.lockfile):  # two builds of other cells both write it
        return update_lock(workspace.lockfile, _update(planned, entries, bundles or {}))


def _update(planned: Planned, entries: Mapping[str, Entry], bundles: Mapping[str, Entry]) -> Update:
    cells = [cell for cell in planned.plan.cells if cell.name in entries]
    known = frozenset(cell_names(planned.workspace)) | set(map(str, planned.declared))
    steps = step_entries(planned, cells)
    return Update(entries, steps, known, frozenset(planned.specs), bundles, _is_bundle(planned))


def _is_bundle(planned: Planned) -> Callable[[str], bool]:
    """Tells which bundles of the lockfile the project still has; asked only where there are any."""

    def asked(name: str) -> bool:
        from trtpipe.building.bundles.comparison import bundles_of

        return bundles_of(planned)(name)

    return asked


def refuse_conflict_elsewhere(planned: Planned) -> None:
    """Raises TrtpipeError when the lockfile has a merge conflict about cells that this build does not resolve."""
    lock = planned.site.lock
    if not lock.disagreeing:
        return
    mine = {cell.name for cell in planned.plan.cells} | {one.name for one in planned.workspace.whole_bundles}
    left = [name for name in lock.disagreeing if name not in mine]
    refuse_undecided(planned.workspace.lockfile, left, _update(planned, {}, {}))


def step_entries(planned: Planned, cells: Iterable[Cell]) -> dict[str, StepEntry]:
    """The lockfile entries of the steps before these cells' engines."""
    wanted = {address for cell in cells for stage, address in cell.steps.items() if stage != "build_engine"}
    done = _done_steps(planned)
    taken = _taken_outputs(planned, done)
    found: dict[str, StepEntry] = {}
    for address, (action, outputs) in done.items():
        if address in wanted:
            shown = {name: shown_digest(outputs[name]) for name in taken.get(address, ()) if name in outputs}
            found[str(address)] = _step_entry(planned, action, {} if address.stage in MEASURING else shown)
    return found


def _step_entry(planned: Planned, action: Action, shown: StepEntry) -> StepEntry:
    """A step's entry: its outputs, the versions that made them and, if it runs models, the kind of processor."""
    record = action.fingerprint.record()
    versions = versions_in(record)
    made = {MADE_WITH: shown_versions(versions)} if versions else {}
    entry = {RECIPE: recipe_of(record), **shown, **made}
    if RUNS_MODELS not in versions:
        return entry
    before = planned.site.lock.steps.get(str(action.address), {})
    if same_result(before, entry) and (
        action.stage not in MEASURING or before.get(MADE_ON) == processor_kind()
    ):
        return {**entry, MADE_ON: before[MADE_ON]} if MADE_ON in before else entry
    trace = planned.workspace.store.trace(action.key)
    made_on = str(trace.summary.get(PROCESSOR, "")) if trace is not None else ""
    return {**entry, MADE_ON: made_on} if made_on else entry


def _done_steps(planned: Planned) -> dict[Address, tuple[Action, Outputs]]:
    """Each finished step before the engines: its action and its outputs, in the plan's order."""
    state = planned.workspace.state
    found: dict[Address, tuple[Action, Outputs]] = {}
    outputs: dict[Address, Outputs] = {}
    for address, step in planned.plan.steps.items():
        if step.stage == "build_engine" or any(up not in outputs for up in step.upstream()):
            continue
        action = action_of(step, outputs)
        decision = planned.decisions[address]
        known: Outputs | None = state.last_outputs(address, action.key)
        if known is None and isinstance(decision, UpToDate) and decision.key == action.key:
            known = decision.outputs
        if known is not None:
            outputs[address] = known
            found[address] = (action, known)
    return found


def _taken_outputs(
    planned: Planned, done: Mapping[Address, tuple[Action, Outputs]]
) -> dict[Address, set[str]]:
    """Step → those of its outputs, by name, that other steps of the plan use."""
    taken: dict[Address, set[str]] = {}
    for step in planned.plan.steps.values():
        for refs in step.inputs.values():
            for ref in refs:
                if isinstance(ref, FromStep) and ref.address in done:
                    names = ref.taken_from(done[ref.address][1])
                    taken.setdefault(ref.address, set()).update(ref.folder + name for name in names)
    return taken
