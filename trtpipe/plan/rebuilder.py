"""Decides whether a step must run, from its key, the traces of that key, and the fingerprint of the last run.

This is the rebuilder of a topological build system with constructive traces ("Build systems à la carte"): a step is up
to date when a trace of its key exists, no matter which machine wrote it. It is a pure function of recorded history, so
every caller gets the same answer: `plan`, the scheduler for each step whose inputs became known (which is all that
early cutoff needs), and the check of outputs that were lost. Independent of order, processes and files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from trtpipe.digests import Digest
from trtpipe.plan.address import Address, Stage
from trtpipe.plan.decisions import Decision, Pending, Restore, Run, UpToDate
from trtpipe.plan.fingerprint import Change, Record, changes_between
from trtpipe.plan.graph import Action, Cell, Outputs, Plan, Step, action_of, is_known, known_record
from trtpipe.plan.reasons import Changed, First, Forced, MissingOutput, NoTrace, Reason

Keys = Mapping[Stage, str]
"""The keys of a cell's steps."""


@dataclass(frozen=True, slots=True)
class Past:
    """Read-only access to the history of builds: five queries.

    `outputs_of(address, key)`: the outputs of an action with that key, or None.
    `last_record(address)`: the fingerprint record of the step's last success here, or None.
    `has(digest)`: whether the artifact is still available.
    `has_trace(key)`: whether the trace itself is, because a report needs more of it than the outputs.
    `delivered(cell, keys)`: whether the cell's files are in place, with the results of steps with these keys.
    """

    outputs_of: Callable[[Address, str], Outputs | None]
    last_record: Callable[[Address], Record | None]
    has: Callable[[Digest], bool]
    has_trace: Callable[[str], bool] = lambda key: True
    delivered: Callable[[Cell, Keys], bool] = lambda cell, keys: True

    def is_whole(self, known: UpToDate) -> bool:
        """Whether all outputs of a step are available, and its trace."""
        return all(map(self.has, known.outputs.values())) and self.has_trace(known.key)


@dataclass(frozen=True, slots=True)
class Rebuilder:
    """The decision for one step; `forced` steps always run, `lost` ones run because their outputs are gone."""

    past: Past
    forced: frozenset[Address] = frozenset()
    lost: frozenset[Address] = frozenset()

    def __call__(self, step: Step, outputs: Mapping[Address, Outputs]) -> Decision:
        """The decision, given the outputs of those steps before it that are known."""
        unknown = tuple(dict.fromkeys(up for up in step.upstream() if up not in outputs))
        if unknown:
            return Pending(unknown, self._own_changes(step, outputs), step.address in self.forced)
        action = action_of(step, outputs)
        if step.address in self.forced:
            return Run(action.key, Forced())
        known = self.past.outputs_of(step.address, action.key)
        if known is None:
            return Run(action.key, self._why(action))
        if step.address in self.lost:
            gone = [name for name, digest in known.items() if not self.past.has(digest)]
            return Run(action.key, MissingOutput(tuple(gone) or (str(step.address),)))
        return UpToDate(action.key, known)

    def _own_changes(self, step: Step, outputs: Mapping[Address, Outputs]) -> tuple[Change, ...]:
        """The fields that already differ from the last run, ignoring inputs that are still unknown."""
        last = self.past.last_record(step.address)
        if last is None:
            return ()
        record = known_record(step, outputs)
        unknown = {
            slot for slot, refs in step.inputs.items() if any(not is_known(ref, outputs) for ref in refs)
        }
        # Unknown inputs are removed from both sides, so that they do not appear as changes.
        before = dict(last["inputs"])
        for slot in unknown:
            known = record["inputs"][slot]
            before[slot] = {name: digest for name, digest in before.get(slot, {}).items() if name in known}
        record["inputs"] = {slot: files for slot, files in record["inputs"].items() if files}
        before = {slot: files for slot, files in before.items() if files}
        return changes_between({**last, "inputs": before}, record)

    def _why(self, action: Action) -> Reason:
        last = self.past.last_record(action.address)
        if last is None:
            return First()
        changes = changes_between(last, action.fingerprint.record())
        return Changed(changes) if changes else NoTrace()


@dataclass(frozen=True, slots=True)
class Decided:
    """A plan's decisions before anything runs."""

    decisions: Mapping[Address, Decision]
    undelivered: frozenset[str]
    """The names of cells whose files are not all in place."""
    rebuilder: Rebuilder
    """What decided, with what it found to be lost: for the steps that are still to be decided."""

    def again(self, step: Step, outputs: Mapping[Address, Outputs]) -> Decision:
        """The decision when all inputs are known: the one made before if they are what they were then."""
        before = self.decisions.get(step.address)
        if isinstance(before, (UpToDate, Restore)) and all(
            outputs.get(up) is getattr(self.decisions[up], "outputs", None) for up in step.upstream()
        ):
            return before
        return self.rebuilder(step, outputs)


def decide_all(plan: Plan, rebuilder: Rebuilder, wanted: Collection[Address] = ()) -> Decided:
    """A decision for every step of a plan.

    A step that is up to date must run if its outputs are needed but gone. Needed are outputs that a running or pending
    step takes, outputs of a cell whose files are not in place or one of whose steps runs or waits, and `wanted`.
    """
    while True:
        # A step that must run again needs its own inputs, which may be lost as well, so decisions are
        # repeated until no further loss is found. The set only grows, so this ends.
        decisions = dict(_forward(plan, rebuilder))
        absent = list(_absent_cells(plan, decisions, rebuilder.past))
        ready = {cell.name for cell in _ready_cells(plan, decisions)}
        due = [*absent, *(cell for cell in plan.cells if cell.name not in ready)]
        lost = {
            *_lost_upstream(plan, decisions, rebuilder.past),
            *_lost_among(wanted, decisions, rebuilder.past),
            *(one for cell in due for one in _lost_among(cell.steps.values(), decisions, rebuilder.past)),
        }
        if lost <= rebuilder.lost:
            break
        rebuilder = replace(rebuilder, lost=rebuilder.lost | lost)
    ready -= {cell.name for cell in absent}
    for cell in absent:
        address = cell.steps["build_engine"]
        # cells may share the step, so it is looked at once
        if isinstance(decision := decisions[address], UpToDate):
            decisions[address] = Restore(decision.key, decision.outputs, (f"{cell.directory}/",))
    return Decided(decisions, frozenset(cell.name for cell in plan.cells) - ready, rebuilder)


def _forward(plan: Plan, rebuilder: Rebuilder) -> Iterator[tuple[Address, Decision]]:
    outputs: dict[Address, Outputs] = {}
    # Steps are in topological order, so the outputs that a step takes are known here if they can be.
    for address, step in plan.steps.items():
        decision = rebuilder(step, outputs)
        if isinstance(decision, UpToDate):
            outputs[address] = decision.outputs
        yield address, decision


def _ready_cells(plan: Plan, decisions: Mapping[Address, Decision]) -> Iterator[Cell]:
    """The cells all of whose steps are up to date."""
    for cell in plan.cells:
        if all(isinstance(decisions[address], UpToDate) for address in cell.steps.values()):
            yield cell


def _absent_cells(plan: Plan, decisions: Mapping[Address, Decision], past: Past) -> Iterator[Cell]:
    """The cells all of whose steps are up to date, and whose files are not in place."""
    for cell in _ready_cells(plan, decisions):
        found = {stage: decisions[address] for stage, address in cell.steps.items()}
        keys = {stage: one.key for stage, one in found.items() if isinstance(one, UpToDate)}
        if not past.delivered(cell, keys):
            yield cell


def _lost_upstream(plan: Plan, decisions: Mapping[Address, Decision], past: Past) -> Iterator[Address]:
    """Steps whose outputs a step that will run takes, and which the store does not have any more."""
    for address, decision in decisions.items():
        if isinstance(decision, UpToDate):
            continue
        for up in plan.steps[address].upstream():
            before = decisions[up]
            if isinstance(before, UpToDate) and not all(map(past.has, before.outputs.values())):
                yield up


def _lost_among(
    addresses: Collection[Address], decisions: Mapping[Address, Decision], past: Past
) -> Iterator[Address]:
    """Those of these steps that are up to date but whose outputs or trace are incomplete."""
    for address in addresses:
        decision = decisions[address]
        if isinstance(decision, UpToDate) and not past.is_whole(decision):
            yield address
