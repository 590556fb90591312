"""Whether a step must run: from its key, what is known of that key, and what the last run looked like.

The rebuilder of a topological build system with constructive traces: a step is up to date when a trace of its
key exists, whoever made it. It knows nothing of order, processes or files; the scheduler asks it again for every
step whose inputs became known, which is all that early cutoff needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from trtpipe.digests import Digest
from trtpipe.plan.decisions import Decision, Pending, Run, UpToDate
from trtpipe.plan.fingerprint import Record, changes_between
from trtpipe.plan.graph import Action, Plan, Step, action_of
from trtpipe.plan.reasons import Changed, First, Forced, MissingOutput, NoTrace, Reason

Outputs = Mapping[str, Digest]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of the past, as three questions.

    `outputs_of(address, key)`: what an action of that key yielded, or None.
    `last_record(address)`: the fingerprint record of the step's last success here, or None.
    `has(digest)`: whether the artifact can still be had.
    """

    outputs_of: Callable[[str, str], Outputs | None]
    last_record: Callable[[str], Record | None]
    has: Callable[[Digest], bool]


@dataclass(slots=True)
class Rebuilder:
    """Decides step by step; `forced` addresses run whatever is known."""

    memory: Memory
    forced: Collection[str] = ()
    wanted_again: set[str] = field(default_factory=set)
    """Steps whose outputs were lost and are needed: they run although a trace exists."""

    def decide(self, step: Step, outputs: Mapping[str, Outputs]) -> Decision:
        """The decision for a step, given the outputs of those steps before it that are known."""
        unknown = tuple(dict.fromkeys(up for up in step.upstream() if up not in outputs))
        if unknown:
            return Pending(unknown)
        action = action_of(step, outputs)
        if step.address in self.forced:
            return Run(action.key, Forced())
        known = self.memory.outputs_of(step.address, action.key)
        if known is None:
            return Run(action.key, self._why(action))
        if step.address in self.wanted_again:
            lost = [name for name, digest in known.items() if not self.memory.has(digest)]
            return Run(action.key, MissingOutput(tuple(lost) or (step.address,)))
        return UpToDate(action.key, known)

    def _why(self, action: Action) -> Reason:
        last = self.memory.last_record(action.address)
        if last is None:
            return First()
        changes = changes_between(last, action.fingerprint.record())
        return Changed(changes) if changes else NoTrace()


def decide_all(plan: Plan, rebuilder: Rebuilder) -> dict[str, Decision]:
    """A decision for every step, before anything runs.

    A step that is up to date but whose outputs a running or pending step needs, and which the store has lost, is
    decided again as one that must run.
    """
    while True:
        decisions = _forward(plan, rebuilder)
        lost = _lost_upstream(plan, decisions, rebuilder.memory) - rebuilder.wanted_again
        if not lost:
            return decisions
        rebuilder.wanted_again |= lost


def _forward(plan: Plan, rebuilder: Rebuilder) -> dict[str, Decision]:
    decisions: dict[str, Decision] = {}
    outputs: dict[str, Outputs] = {}
    for address, step in plan.steps.items():
        decision = decisions[address] = rebuilder.decide(step, outputs)
        if isinstance(decision, UpToDate):
            outputs[address] = decision.outputs
    return decisions


def _lost_upstream(plan: Plan, decisions: Mapping[str, Decision], memory: Memory) -> set[str]:
    lost = set()
    for address, decision in decisions.items():
        if isinstance(decision, UpToDate):
            continue
        for up in plan.steps[address].upstream():
            before = decisions[up]
            if isinstance(before, UpToDate) and not all(map(memory.has, before.outputs.values())):
                lost.add(up)
    return lost
