"""Holds a plan against the lockfile, and writes the lockfile.

The lockfile says of each step what was asked of it and what it yielded, so its word can be followed from the spec's
files to every engine's key without a store and without running anything (`foretold`). It is believed for a comparison
only; a build believes nothing but the store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.digests import Digest, key_of
from trtpipe.errors import LockMismatch, Problem, SpecError
from trtpipe.files import held
from trtpipe.lockfile import Lock, StepEntry, Update, digest_in, load_lock, pipeline_of, shown_digest
from trtpipe.lockfile.comparing import NOTHING, Difference, between, mismatch
from trtpipe.lockfile.entries import RECIPE, SCHEMA, Entry
from trtpipe.lockfile.gathering import asked_facts, asked_fields, recipe_of
from trtpipe.lockfile.writing import refuse_undecided, update_lock
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Restore, UpToDate
from trtpipe.plan.fingerprint import Change, changes_between
from trtpipe.plan.graph import Action, Cell, FromStep, Outputs, Step, action_of
from trtpipe.problem_codes import Code
from trtpipe.rendering.decisions import show_value
from trtpipe.system.delivering import Delivery
from trtpipe.system.unheard import Unheard
from trtpipe.system.workspace import STATE_DIRECTORY, cell_names

if TYPE_CHECKING:
    from trtpipe.system.planned import Planned

BUILD_REMEDY = "run `trtpipe build` and commit the lockfile, or take the change back"


def refresh_lock(planned: Planned, delivered: Collection[str]) -> bool:
    """Bring the lockfile up to date with the cells that are delivered; whether it changed."""
    entries = {name: planned.workspace.state.lock_entry(name) for name in delivered}
    return write_entries(planned, entries)


def write_entries(planned: Planned, entries: Mapping[str, Entry]) -> bool:
    """Write these cells' facts, and those of the steps that they need, into the lockfile; whether it changed."""
    workspace = planned.workspace
    with held(workspace.root / STATE_DIRECTORY / "lockfile.lock"):  # two builds of other cells both write it
        return update_lock(workspace.lockfile, _update(planned, entries))


def _update(planned: Planned, entries: Mapping[str, Entry]) -> Update:
    cells = [cell for cell in planned.plan.cells if cell.name in entries]
    known = frozenset(cell_names(planned.workspace)) | set(map(str, planned.declared))
    return Update(entries, step_entries(planned, cells), known, frozenset(planned.specs))


def refuse_conflict_elsewhere(planned: Planned) -> None:
    """Raises TrtpipeError when the lockfile is in a merge conflict about cells that this build will not settle."""
    lock = load_lock(planned.workspace.lockfile)
    mine = {cell.name for cell in planned.plan.cells}
    left = [name for name in lock.disagreeing if name not in mine]
    refuse_undecided(planned.workspace.lockfile, left, _update(planned, {}))


def step_entries(planned: Planned, cells: Iterable[Cell]) -> dict[str, StepEntry]:
    """What the lockfile says of the steps before these cells' engines."""
    wanted = {address for cell in cells for stage, address in cell.steps.items() if stage != "build_engine"}
    done = _done_steps(planned)
    taken = _taken_outputs(planned, done)
    found: dict[str, StepEntry] = {}
    for address, (action, outputs) in done.items():
        if address in wanted:
            shown = {name: shown_digest(outputs[name]) for name in taken.get(address, ()) if name in outputs}
            found[str(address)] = {RECIPE: recipe_of(action.fingerprint.record()), **shown}
    return found


def _done_steps(planned: Planned) -> dict[Address, tuple[Action, Outputs]]:
    """Each step before the engines that is done: its action and what it yielded, in the plan's order."""
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
    """Step → its outputs that other steps of the plan take, by their names among the step's outputs."""
    taken: dict[Address, set[str]] = {}
    for step in planned.plan.steps.values():
        for refs in step.inputs.values():
            for ref in refs:
                if isinstance(ref, FromStep) and ref.address in done:
                    names = ref.taken_from(done[ref.address][1])
                    taken.setdefault(ref.address, set()).update(ref.folder + name for name in names)
    return taken


@dataclass(slots=True)
class Foretold:
    """How far a plan is known, from what was done here and, where nothing was, from the lockfile's word."""

    actions: dict[Address, Action] = field(default_factory=dict)
    outputs: dict[Address, Outputs] = field(default_factory=dict)
    by_word: set[Address] = field(default_factory=set)
    """Steps whose outputs only the lockfile tells."""


def foretold(planned: Planned, lock: Lock) -> Foretold:
    """Follows the plan as far as decisions and the lockfile's steps lead."""
    found = Foretold()
    for address, step in planned.plan.steps.items():
        if not _inputs_are_known(step, found.outputs):
            continue
        action = found.actions[address] = action_of(step, found.outputs)
        decision = planned.decisions[address]
        if isinstance(decision, (UpToDate, Restore)) and decision.key == action.key:
            found.outputs[address] = decision.outputs
            continue
        entry = lock.steps.get(str(address))
        if entry is not None and entry[RECIPE] == recipe_of(action.fingerprint.record()):
            found.outputs[address] = dict(_told_outputs(entry))
            found.by_word.add(address)
    return found


def _inputs_are_known(step: Step, outputs: Mapping[Address, Outputs]) -> bool:
    """Whether all that a step takes is there; somebody may have cut a line out of the lockfile."""
    refs = [ref for refs in step.inputs.values() for ref in refs if isinstance(ref, FromStep)]
    return all(ref.taken_from(outputs.get(ref.address, {})) for ref in refs)


def _told_outputs(entry: StepEntry) -> Iterator[tuple[str, Digest]]:
    for name, text in entry.items():
        digest = digest_in(text)
        if name != RECIPE and digest is not None:
            yield name, digest


@dataclass(slots=True)
class Comparison:
    """What the lockfile says, held against what is known without running anything."""

    differences: list[Difference] = field(default_factory=list)
    exact: dict[str, Entry] = field(default_factory=dict)
    """Cell → its facts, where all of them are known."""
    by_key: list[str] = field(default_factory=list)
    """Cells that nobody built here: what the spec asks and the lockfile's key agree."""
    unknown: list[str] = field(default_factory=list)
    """Cells that are not known without a build, and of which the lockfile says something else."""


def compare_with_lock(planned: Planned, lock: Lock) -> Comparison:
    """Holds every cell of the plan against the lockfile.

    Raises ValidationFailed when a cell that is not delivered misses a threshold, StoreError when the store is damaged.
    """
    comparison, told = Comparison(), foretold(planned, lock)
    delivery = Delivery(planned.workspace, planned.specs, Unheard(), planned.targets, planned.plan.steps)
    for cell in planned.plan.cells:
        _compare_cell(planned, lock, cell, told, delivery, comparison)
    names = frozenset(cell_names(planned.workspace))
    gone = [name for name in lock.cells if name not in names and pipeline_of(name) in planned.specs]
    comparison.differences += [
        Difference(name, "cell", "in the lockfile", "not in the spec") for name in sorted(gone)
    ]
    return comparison


def _compare_cell(
    planned: Planned, lock: Lock, cell: Cell, told: Foretold, delivery: Delivery, comparison: Comparison
) -> None:
    locked = lock.cells.get(cell.name)
    entry = _known_entry(planned, cell, delivery)
    if entry is not None:
        comparison.exact[cell.name] = entry
    if locked is None:
        new = str(entry["key"]) if entry is not None else "to be built"
        comparison.differences.append(Difference(cell.name, "cell", "not in the lockfile", new))
        comparison.unknown += [] if entry is not None else [cell.name]
        return
    if entry is not None:
        comparison.differences += between(cell.name, locked, entry)
        return
    found = [
        *_differing_facts(cell, locked, told),
        *_changed_options(planned, locked, cell, told),
        *_broken_chain(planned, lock, cell, told),
    ]
    if not found and cell.steps["build_engine"] not in told.actions:
        found = [
            Difference(cell.name, "steps", "those of the lockfile do not lead to its engine", "to be built")
        ]
    comparison.differences += found
    (comparison.unknown if found else comparison.by_key).append(cell.name)


def _known_entry(planned: Planned, cell: Cell, delivery: Delivery) -> Entry | None:
    """All of a cell's facts, when every step of it is done; None otherwise."""
    decisions = {stage: planned.decisions[address] for stage, address in cell.steps.items()}
    keys = {stage: one.key for stage, one in decisions.items() if isinstance(one, (UpToDate, Restore))}
    if len(keys) < len(decisions):
        return None
    if cell.name not in planned.undelivered:
        return planned.workspace.state.lock_entry(cell.name)
    return delivery.entry_of(cell, keys)


def _differing_facts(cell: Cell, locked: Entry, told: Foretold) -> list[Difference]:
    """Where what the cell is made from, as far as that is known, is not what the lockfile says."""
    actions = {
        stage: told.actions[address] for stage, address in cell.steps.items() if address in told.actions
    }
    records = {stage: action.fingerprint.record() for stage, action in actions.items()}
    facts = dict(asked_facts(records, cell.facts))
    if "build_engine" in actions:
        facts["key"] = actions["build_engine"].key
    return between(cell.name, locked, facts, asked_fields(records))


def _changed_options(planned: Planned, locked: Entry, cell: Cell, told: Foretold) -> Iterator[Difference]:
    """What makes an engine's key another one, field by field, when the engine of the locked key was built here."""
    address = cell.steps["build_engine"]
    action, last = told.actions.get(address), planned.last_record(address)
    if action is not None and last is not None and key_of(last) == locked.get("key") != action.key:
        for change in changes_between(last, action.fingerprint.record()):
            yield _of_change(cell, address, change)


def _of_change(cell: Cell, address: Address, change: Change) -> Difference:
    return Difference(cell.name, f"{address} {change.field}", show_value(change.old), show_value(change.new))


def _broken_chain(planned: Planned, lock: Lock, cell: Cell, told: Foretold) -> Iterator[Difference]:
    """The first steps whose outputs nobody knows: the spec asks of them what the lockfile does not say."""
    for stage, address in cell.steps.items():
        action = told.actions.get(address)
        if stage == "build_engine" or action is None or address in told.outputs:
            continue
        record = action.fingerprint.record()
        entry = lock.steps.get(str(address))
        old, new = (entry[RECIPE] if entry else NOTHING), recipe_of(record)
        last = planned.last_record(address)
        changes = changes_between(last, record) if last is not None and recipe_of(last) == old else ()
        for change in changes:
            yield _of_change(cell, address, change)
        if not changes:
            yield Difference(cell.name, f"{address} recipe", old[:12] if entry else old, new[:12])


def refuse_differences(planned: Planned) -> Lock:
    """For `--frozen`: the lockfile, when nothing that is known without running contradicts it.

    Raises LockMismatch when something does, SpecError when a remote source has no pin.
    """
    refuse_unpinned(planned)
    lock = load_lock(planned.workspace.lockfile)
    path = planned.workspace.lockfile
    if not path.exists():
        raise LockMismatch(Code.NO_LOCKFILE, f"there is no lockfile {path}", BUILD_REMEDY)
    if lock.conflict:
        raise LockMismatch(
            Code.LOCK_CONFLICT,
            f"the lockfile {path} holds a merge conflict",
            "run `trtpipe build`: it settles it",
        )
    if lock.schema != SCHEMA:
        fact = f"the lockfile {path} has schema {lock.schema}, and schema {SCHEMA} is needed to hold a build to it"
        raise LockMismatch(Code.LOCK_SCHEMA, fact, "run `trtpipe build` once and commit the lockfile")
    differences = compare_with_lock(planned, lock).differences
    if differences:
        raise mismatch(differences, BUILD_REMEDY)
    return lock


def refuse_unpinned(planned: Planned) -> None:
    """Raises SpecError with every remote source that has no pin: its bytes could change, and no commit would."""
    from trtpipe.system.remotes import fetch_facts

    problems: list[Problem] = []
    for pipeline in planned.workspace.pipelines:
        if not pipeline.remotes or not any(
            cell.pipeline == pipeline.spec.pipeline for cell in planned.plan.cells
        ):
            continue
        fetch = fetch_facts(pipeline)
        for name, file in fetch.files.items():
            if not file.sha256:
                fact = f"{file.shown} has no pin, and the lockfile is to be kept to"
                remedy = "`trtpipe check` prints the sha256 line to paste"
                problems.append(
                    pipeline.locate(Problem(Code.NOT_PINNED, fact, remedy, path=fetch.places[name]))
                )
    if problems:
        raise SpecError(problems)
