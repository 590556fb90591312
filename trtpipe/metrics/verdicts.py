"""Checks a validation report against thresholds: a verdict for every place and output, and one overall outcome.

A place is where outputs were compared: the declared data, a corner of a profile, recorded outputs. A threshold applies
at every place. Where its metric is undefined (accuracy at a corner, which has no labels) it is skipped, provided it was
measured elsewhere; a threshold of the spec that was measured nowhere fails, because it proves nothing.

Takes the report as plain data; independent of runners and stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trtpipe.errors import Problem, SpecPath
from trtpipe.json_values import Json, JsonObject
from trtpipe.metrics.reports import MeasuredPlace, Onset, read_report
from trtpipe.metrics.thresholds import Comparison, Outcome, Verdict, failures, judge, never_measured
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import Threshold

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of a validation."""

    outcome: Outcome
    verdicts: tuple[dict[str, Json], ...]
    """Records with `place`, `output`, `metric`, `value`, `min`, `max`, `outcome`, `why`."""
    problems: tuple[Problem, ...]
    """What failed, each in one sentence."""
    not_run: tuple[str, ...]
    """What was not run, by name, with its reason."""
    accuracy: float | None = None
    reference_accuracy: float | None = None
    nonfinite: tuple[str, ...] = ()
    """Where infinities and NaN begin inside the typed model, in words; a warning even when everything passed."""
    by_default: bool = False
    """Whether the thresholds are the precision's own, for the spec sets none."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """Type that the CPU has no kernels for → what was measured in its place."""
    thresholds: tuple[Threshold, ...] = ()
    """Those that were applied."""

    def as_json(self) -> dict[str, Json]:
        """Plain data for a manifest."""
        return {
            "outcome": self.outcome,
            "accuracy": self.accuracy,
            "reference_accuracy": self.reference_accuracy,
            "default_thresholds": self.by_default,
            "thresholds": [one.model_dump() for one in self.thresholds],
            "twins": dict(self.twins),
            "verdicts": list(self.verdicts),
            "nonfinite": list(self.nonfinite),
            "problems": [problem.fact for problem in self.problems],
        }


def judge_report(
    record: JsonObject,
    thresholds: Sequence[Threshold],
    defaults: Sequence[Threshold] = (),
    path: SpecPath = ("validate", "thresholds"),
) -> Judgement:
    """The judgement of a validation's report; `defaults` apply when the spec sets no thresholds. Raises Malformed."""
    report = read_report(record)
    applied = list(thresholds) or list(defaults)
    places = {place.place: _compared(place, applied) for place in report.places}
    everything = [comparison for compared in places.values() for comparison in compared.values()]
    missing = never_measured(applied, everything) if thresholds else {}
    problems = [
        *(problem for place, compared in places.items() for problem in failures(compared, place)),
        *_missing_problems(applied, missing, path),
    ]
    verdicts = tuple(_verdicts(places))
    passed = any(one.verdict.outcome == "passed" for one in verdicts)
    outcome: Outcome = "failed" if problems else "passed" if passed else "not_run"
    accuracy, reference = _accuracy(report.places, applied)
    return Judgement(
        outcome,
        tuple(one.as_json() for one in verdicts),
        (*(_explained(problem, report.nonfinite) for problem in problems[:1]), *problems[1:]),
        tuple(f"{one.name}: {one.why}" for one in report.not_run),
        accuracy,
        reference,
        tuple(nonfinite_words(tensor) for tensor in report.nonfinite),
        by_default=not thresholds,
        twins=report.twins,
        thresholds=tuple(applied),
    )


def judge_engine(record: JsonObject, thresholds: Sequence[Threshold], *, samples: int | None) -> Judgement:
    """The judgement of an engine's outputs for recorded samples, by the thresholds of its typed model.

    `samples` is the number of samples that the thresholds are meant for. If fewer were recorded, accuracy depends on
    the selection and is not judged. Thresholds that were measured nowhere are not run; places without outputs fail.
    Raises Malformed.
    """
    report = read_report(record)
    whole = samples is None or report.recorded >= samples
    applied = [one for one in thresholds if whole or one.metric != "accuracy"]
    judgement = judge_report(record, (), applied)
    broken = tuple(Problem(Code.RUN_FAILED, f"{one.why} ({one.name})") for one in report.broken)
    left_out = (
        [f"accuracy: {report.recorded} of {samples} samples were recorded"]
        if len(applied) < len(thresholds)
        else []
    )
    outcome: Outcome = "failed" if broken else judgement.outcome
    return replace(
        judgement,
        outcome=outcome,
        problems=(*broken, *judgement.problems),
        not_run=(*judgement.not_run, *left_out),
        by_default=False,
    )


def failed_places(judgement: Judgement) -> set[str]:
    """The places where a threshold was missed."""
    return {str(verdict["place"]) for verdict in judgement.verdicts if verdict["outcome"] == "failed"}


@dataclass(frozen=True, slots=True)
class _Placed:
    """A verdict, with its output and place."""

    place: str
    output: str
    verdict: Verdict

    def as_json(self) -> dict[str, Json]:
        return {"place": self.place, "output": self.output, **self.verdict.as_json()}


def _compared(place: MeasuredPlace, thresholds: Sequence[Threshold]) -> dict[str, Comparison]:
    return {name: judge(name, metrics, thresholds) for name, metrics in place.outputs.items()}


def _verdicts(places: Mapping[str, Mapping[str, Comparison]]) -> Iterator[_Placed]:
    for place, compared in places.items():
        for output, comparison in compared.items():
            for verdict in comparison.verdicts:
                if verdict.outcome != "not_run" or not _measured_elsewhere(places, output, verdict.metric):
                    yield _Placed(place, output, verdict)


def _measured_elsewhere(places: Mapping[str, Mapping[str, Comparison]], output: str, metric: str) -> bool:
    return any(
        verdict.metric == metric and verdict.outcome != "not_run"
        for compared in places.values()
        if output in compared
        for verdict in compared[output].verdicts
    )


def _missing_problems(
    thresholds: Sequence[Threshold], missing: Mapping[int, str], path: SpecPath
) -> Iterator[Problem]:
    for index, why in missing.items():
        asked = thresholds[index]
        fact = f"{asked.metric} of output '{asked.output}' was not measured anywhere: {why}"
        yield Problem(
            Code.NOT_MEASURED,
            fact,
            "remove the threshold, or use data on which it can be measured",
            path=(*path, index),
        )


def _accuracy(
    places: Sequence[MeasuredPlace], thresholds: Sequence[Threshold]
) -> tuple[float | None, float | None]:
    """The accuracy of the output that a threshold names, else of the first output that has one."""
    named = {threshold.output for threshold in thresholds if threshold.metric == "accuracy"}
    measured = [
        (name, metrics)
        for place in places
        for name, metrics in place.outputs.items()
        if metrics.values["accuracy"] is not None
    ]
    for _, metrics in sorted(measured, key=lambda one: one[0] not in named):
        return metrics.values["accuracy"], metrics.reference_accuracy
    return None, None


def _explained(problem: Problem, nonfinite: Sequence[Onset]) -> Problem:
    """The first failure names the tensors in which infinities and NaN begin, when there are any."""
    if not nonfinite or problem.path:
        return problem
    lines = [nonfinite_words(tensor) for tensor in nonfinite[:_SHOWN]]
    nodes = ", ".join(f"'{tensor.node or tensor.tensor}'" for tensor in nonfinite[:_SHOWN])
    lines.append(f"keep these nodes and what reads them in float32: keep: {{fp32: [{nodes}, …]}}")
    return Problem(
        problem.code, problem.fact, "\n".join(lines), problem.where, problem.path, problem.severity
    )


def nonfinite_words(onset: Onset) -> str:
    """Where infinities or NaN first occur, in words."""
    size = onset.reference_max
    known = f", where the reference reaches {size:.4g}" if size is not None else ""
    return f"{onset.what} begins in '{onset.tensor}' ({onset.op}, {onset.place}){known}"
