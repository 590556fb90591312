"""Compares a plan with the lockfile, without running anything.

The lockfile contains for each step what was asked of it and what it yielded, so the plan can be followed from the
spec's files to every engine's key without a store (`foretold`). The lockfile is trusted only for this comparison; a
build uses only results from the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from trtpipe.building.silent import Unheard
from trtpipe.delivery.cells import Delivery
from trtpipe.digests import Digest, key_of
from trtpipe.lockfile import Blocks, Lock, StepEntry, cell_text, digest_in, entry_in, pipeline_of, text_in
from trtpipe.lockfile.cell_facts import asked_facts, asked_fields
from trtpipe.lockfile.comparison import NOTHING, Difference, between
from trtpipe.lockfile.entries import RECIPE, Entry
from trtpipe.lockfile.recipes import (
    OtherVersion,
    other_versions,
    outputs_in,
    recipe_of,
    versions_in,
)
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Restore, UpToDate
from trtpipe.plan.fingerprint import Change, changes_between
from trtpipe.plan.graph import Action, Cell, FromStep, Outputs, Step, action_of
from trtpipe.text.decisions import show_value
from trtpipe.workspace.held_steps import (
    MEASURING,
    Held,
    apart,
    held_step,
)
from trtpipe.workspace.workspace import cell_names

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned


@dataclass(slots=True)
class Foretold:
    """How far a plan's keys are known, from steps done here and, for the others, from the lockfile."""

    steps: Mapping[Address, Step]
    known: set[Address] = field(default_factory=set)
    """Steps all of whose inputs are known."""
    outputs: dict[Address, Outputs] = field(default_factory=dict)
    by_word: dict[Address, tuple[OtherVersion, ...]] = field(default_factory=dict)
    """Steps whose outputs only the lockfile has, with the versions that differ from those here."""

    def action(self, address: Address) -> Action | None:
        """The action of a step, if its inputs are known; made when asked for, because few are."""
        return action_of(self.steps[address], self.outputs) if address in self.known else None


def foretold(planned: Planned, lock: Lock) -> Foretold:
    """Follows the plan as far as decisions and the lockfile's steps reach."""
    found = Foretold(planned.plan.steps)
    for address, step in planned.plan.steps.items():
        decision = planned.decisions[address]
        if isinstance(decision, (UpToDate, Restore)):  # which no step is whose inputs are not known
            found.known.add(address)
            found.outputs[address] = decision.outputs
            continue
        if not _inputs_are_known(step, found.outputs):
            continue
        found.known.add(address)
        entry, record = lock.steps.get(str(address)), action_of(step, found.outputs).fingerprint.record()
        if entry is not None and entry[RECIPE] == recipe_of(record):
            found.outputs[address] = dict(_told_outputs(entry))
            found.by_word[address] = other_versions(entry, versions_in(record))
    return found


def _inputs_are_known(step: Step, outputs: Mapping[Address, Outputs]) -> bool:
    """Whether all inputs of a step are known; a line may have been removed from the lockfile by hand."""
    refs = [ref for refs in step.inputs.values() for ref in refs if isinstance(ref, FromStep)]
    return all(ref.taken_from(outputs.get(ref.address, {})) for ref in refs)


def _told_outputs(entry: StepEntry) -> Iterator[tuple[str, Digest]]:
    for name, text in outputs_in(entry).items():
        digest = digest_in(text)
        if digest is not None:
            yield name, digest


@dataclass(slots=True)
class Comparison:
    """The result of comparing the lockfile with what is known without running anything."""

    told: Foretold
    """How far the plan is known."""
    differences: list[Difference] = field(default_factory=list)
    exact: dict[str, str] = field(default_factory=dict)
    """Cell → the text of its facts, where all of them are known."""
    by_key: list[str] = field(default_factory=list)
    """Cells not built here whose engine key from the spec equals the lockfile's."""
    but_for_versions: dict[str, tuple[OtherVersion, ...]] = field(default_factory=dict)
    """Those of them whose steps the lockfile tells of with other versions of packages: not proved to be the same."""
    excused: list[Difference] = field(default_factory=list)
    """Measurements that differ because of other packages or processors: no reason to refuse."""
    unknown: list[str] = field(default_factory=list)
    """Cells that are not known without a build, and of which the lockfile says something else."""


def compare_with_lock(planned: Planned, lock: Lock) -> Comparison:
    """Compares every cell of the plan with the lockfile.

    Raises ValidationFailed when a cell that is not delivered misses a threshold, StoreError when the store is damaged.
    """
    told = foretold(planned, lock)
    comparison = Comparison(told)
    delivery = Delivery(planned.workspace, planned.specs, Unheard(), planned.targets, planned.plan.steps)
    for cell in planned.plan.cells:
        _compare_cell(planned, lock, cell, told, delivery, comparison)
    names = frozenset(cell_names(planned.workspace))
    gone = [name for name in lock.cells if name not in names and pipeline_of(name) in planned.specs]
    comparison.differences += [
        Difference(name, "cell", "in the lockfile", "not in the spec") for name in sorted(gone)
    ]
    if planned.workspace.bundles or lock.bundles:
        from trtpipe.building.bundles.comparison import compare_bundles

        comparison.differences += compare_bundles(
            planned, lock, Blocks(comparison.exact, entry_in), comparison.by_key
        )
    return comparison


def _compare_cell(
    planned: Planned, lock: Lock, cell: Cell, told: Foretold, delivery: Delivery, comparison: Comparison
) -> None:
    text = _known_text(planned, cell, delivery)
    if text is not None:
        comparison.exact[cell.name] = text
        if text == text_in(lock.cells, cell.name):
            return
    locked, entry = lock.cells.get(cell.name), entry_in(text) if text is not None else None
    if locked is None:
        new = str(entry["key"]) if entry is not None else "to be built"
        comparison.differences.append(Difference(cell.name, "cell", "not in the lockfile", new))
        comparison.unknown += [] if entry is not None else [cell.name]
        return
    if entry is not None:
        _compare_known(planned, lock, cell, told, between(cell.name, locked, entry), comparison)
        return
    found = [
        *_differing_facts(cell, locked, told),
        *_changed_options(planned, locked, cell, told),
        *_broken_chain(planned, lock, cell, told),
    ]
    if not found and cell.steps["build_engine"] not in told.known:
        found = [
            Difference(
                cell.name, "steps", "the lockfile's own facts do not lead to its engine", "to be built"
            )
        ]
    comparison.differences += found
    (comparison.unknown if found else comparison.by_key).append(cell.name)
    others = [one for address in cell.steps.values() for one in told.by_word.get(address, ())]
    if others and not found:
        comparison.but_for_versions[cell.name] = tuple(dict.fromkeys(others))


def _compare_known(
    planned: Planned, lock: Lock, cell: Cell, told: Foretold, found: list[Difference], comparison: Comparison
) -> None:
    """Compares a cell with all facts known: the differences, the steps where they begin, what explains them."""
    held = list(held_here(planned, lock, cell, told)) if found else []
    count, excused = apart(found, [one for one in held if one.address.stage in MEASURING])
    comparison.differences += [*count, *(one for step in held for one in step.differences(cell.name))]
    comparison.excused += excused


def held_here(planned: Planned, lock: Lock, cell: Cell, told: Foretold) -> Iterator[Held]:
    """The cell's steps that are done here, compared with the lockfile."""
    store = planned.workspace.store
    for address in cell.steps.values():
        outputs = told.outputs.get(address)
        if outputs is None or address in told.by_word:
            continue
        held = held_step(lock, address, outputs, partial(action_of, told.steps[address], told.outputs), store)
        if held is not None:
            yield held


def _known_text(planned: Planned, cell: Cell, delivery: Delivery) -> str | None:
    """The text of all of a cell's facts, when every step of it is done; None otherwise."""
    decisions = {stage: planned.decisions[address] for stage, address in cell.steps.items()}
    keys = {stage: one.key for stage, one in decisions.items() if isinstance(one, (UpToDate, Restore))}
    if len(keys) < len(decisions):
        return None
    if cell.name not in planned.undelivered:
        return planned.workspace.state.lock_text(cell.name)
    return cell_text({cell.name: delivery.entry_of(cell, keys)}, cell.name)


def _differing_facts(cell: Cell, locked: Entry, told: Foretold) -> list[Difference]:
    """Inputs of the cell that differ from the lockfile, as far as they are known."""
    found = {stage: told.action(address) for stage, address in cell.steps.items()}
    actions = {stage: action for stage, action in found.items() if action is not None}
    records = {stage: action.fingerprint.record() for stage, action in actions.items()}
    facts = dict(asked_facts(records, cell.facts))
    if "build_engine" in actions:
        facts["key"] = actions["build_engine"].key
    return between(cell.name, locked, facts, asked_fields(records))


def _changed_options(planned: Planned, locked: Entry, cell: Cell, told: Foretold) -> Iterator[Difference]:
    """The fields that changed an engine's key, if the engine of the locked key was built here."""
    address = cell.steps["build_engine"]
    action, last = told.action(address), planned.last_record(address)
    if action is not None and last is not None and key_of(last) == locked.get("key") != action.key:
        for change in changes_between(last, action.fingerprint.record()):
            yield _of_change(cell, address, change)


def _of_change(cell: Cell, address: Address, change: Change) -> Difference:
    return Difference(cell.name, f"{address} {change.field}", show_value(change.old), show_value(change.new))


def _broken_chain(planned: Planned, lock: Lock, cell: Cell, told: Foretold) -> Iterator[Difference]:
    """The first steps whose outputs are unknown: the spec asks something of them that is not in the lockfile."""
    for stage, address in cell.steps.items():
        action = told.action(address)
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
