"""`debug`: finds the fewest nodes whose precision makes a variant miss its thresholds, by delta debugging.

It reduces units first, then the nodes of the remaining units, then raises each node to the narrowest type that
suffices. Every trial is a cached evaluation, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trtpipe.app.debug.subjects import Subject, nothing_lowered
from trtpipe.metrics.budgets import reached
from trtpipe.metrics.verdicts import judge_report
from trtpipe.plan.ports import Observer
from trtpipe.search.choices import Choice, choice_of, exactly
from trtpipe.search.minimization import ddmin
from trtpipe.search.units import Unit

Verdict = Literal["nothing fails", "not the precision", "found"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result for a cell."""

    verdict: Verdict
    problems: tuple[str, ...] = ()
    """The failures: of the variant as it is or, when precision is not the cause, with every node kept."""
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The `keep` that makes every threshold pass, what the spec keeps already included."""
    nodes: tuple[str, ...] = ()
    """The nodes that it names and the spec does not."""
    evaluations: int = 0
    ran: int = 0

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as a JSON object."""
        return {
            "verdict": self.verdict,
            "problems": list(self.problems),
            "keep": {name: list(globs) for name, globs in self.keep.items()},
            "nodes": list(self.nodes),
            "evaluations": self.evaluations,
            "evaluations_run": self.ran,
        }


def debug_variant(subject: Subject, observer: Observer) -> Diagnosis:
    """The diagnosis. Raises SpecError when the variant lowers nothing, and what evaluating raises."""
    if not subject.ladder.widest:
        raise nothing_lowered(subject)
    trials = _Trials(subject, subject.telling(observer))
    own = subject.own()
    failing = trials.failures(own)
    if not failing and subject.spec.validate_ is not None and subject.spec.validate_.corners:
        trials.corners = True
        failing = trials.failures(own)
    if not failing:
        return trials.diagnosis("nothing fails")
    units = subject.evaluations.units(subject.ladder)
    everything = trials.failures(trials.keeping(units, range(len(units))))
    if everything:
        return trials.diagnosis("not the precision", everything)
    left = ddmin(range(len(units)), lambda kept: not trials.failures(trials.keeping(units, kept)))
    kept = _nodes(trials, [units[index] for index in left])
    choice = trials.holding(kept)
    return replace(trials.diagnosis("found", failing), keep=choice.keep, nodes=tuple(kept))


def _nodes(trials: _Trials, units: Sequence[Unit]) -> dict[str, str]:
    """The fewest nodes of some units, each with the narrowest precision that they can be kept in."""
    ladder = trials.subject.ladder
    widest = ladder.levels[-1]
    nodes = [(node, unit) for unit in units for node in unit.nodes]
    trials.phase = "nodes"

    def passes(some: Sequence[tuple[str, Unit]]) -> bool:
        return not trials.failures(trials.holding({node: widest for node, _ in some}))

    # A unit may pass only when all of its nodes are kept, not any subset: then they stay together.
    few = ddmin(nodes, passes) if passes(nodes) else nodes
    kept = {node: widest for node, _ in few}
    trials.phase = "narrower types"
    for node, _ in few:
        for narrower in ladder.levels[1:-1]:
            if not trials.failures(trials.holding({**kept, node: narrower})):
                kept[node] = narrower
                break
    return kept


@dataclass
class _Trials:
    """Judges choices by a cell's thresholds."""

    subject: Subject
    tell: Callable[[str, int], None]
    corners: bool = False
    phase: str = "units"
    asked: dict[str, list[str]] = field(default_factory=dict)

    def failures(self, choice: Choice) -> list[str]:
        """Why a choice fails, as text."""
        key = f"{choice.to_json()} {self.corners}"
        if key not in self.asked:
            self.asked[key] = self._failures(choice)
            self.tell(self.phase, len(self.asked))
        return self.asked[key]

    def _failures(self, choice: Choice) -> list[str]:
        from trtpipe.precisions import find_precision

        subject = self.subject
        report = subject.evaluations.report(choice, corners=self.corners)
        precision = find_precision(subject.ladder.head)
        assert precision is not None, "the loader knows the precisions"
        budget = subject.spec.variants[subject.cell.variant].budget
        asked = subject.spec.validate_.thresholds if subject.spec.validate_ is not None else ()
        judgement = judge_report(report, asked, () if budget is not None else precision.default_thresholds)
        found = [problem.fact for problem in judgement.problems]
        if budget is not None and not (kept := reached(report, budget)).inside:
            found.append(f"over its budget: {kept.why}")
        if not report["places"]:
            found += [f"{one['name']}: {one['why']}" for one in report["not_run"]]
        return found

    def keeping(self, units: Sequence[Unit], kept: Sequence[int]) -> Choice:
        """The variant with some units kept in the widest precision."""
        ladder = self.subject.ladder
        within = set(kept)
        levels = [ladder.widest if i in within else ladder.lowest(unit) for i, unit in enumerate(units)]
        return choice_of(ladder, units, tuple(levels), self.subject.own().keep)

    def holding(self, nodes: Mapping[str, str]) -> Choice:
        """The variant with some nodes kept, each in the given precision."""
        own = self.subject.own()
        keep = {name: list(globs) for name, globs in own.keep.items()}
        for node, precision in nodes.items():
            keep.setdefault(precision, []).append(exactly(node))
        return Choice(own.precision, own.base, {name: tuple(globs) for name, globs in sorted(keep.items())})

    def diagnosis(self, verdict: Verdict, problems: Sequence[str] = ()) -> Diagnosis:
        """The result, with the number of choices judged and of those measured now."""
        asked, ran = len(self.asked), self.subject.evaluations.ran
        return Diagnosis(verdict, tuple(problems), evaluations=asked, ran=ran)
