"""Thresholds: the bound on a metric of an output, and whether it was met.

If several thresholds for one metric match the same output, the last one in the spec decides. A threshold that could
not be measured is `not_run` with its reason and never counts as passed. An output that holds NaN, or an infinity where
the reference has none, fails regardless of its metrics.

Independent of models, runners or files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from trtpipe.errors import Problem, SpecPath
from trtpipe.figures import exact_figure, figure_beside
from trtpipe.json_values import Json
from trtpipe.metrics.metrics import Metrics, NonFinite, json_number
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import Threshold

Outcome = Literal["passed", "failed", "not_run"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of checking one threshold on one output."""

    metric: str
    outcome: Outcome
    value: float | None
    min: float | None
    max: float | None
    why: str = ""

    def as_json(self) -> dict[str, Json]:
        """Plain data for a report."""
        return {
            "metric": self.metric,
            "outcome": self.outcome,
            "value": json_number(self.value),
            "min": self.min,
            "max": self.max,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output compared with its reference: measurements and verdicts."""

    output: str
    metrics: Metrics
    verdicts: tuple[Verdict, ...]

    @property
    def outcome(self) -> Outcome:
        """`failed` if anything failed, `passed` if something passed and nothing failed."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        if "failed" in outcomes:
            return "failed"
        return "passed" if "passed" in outcomes else "not_run"


def judge(output: str, metrics: Metrics, thresholds: Sequence[Threshold]) -> Comparison:
    """Checks every threshold that applies to `output` against the measurements."""
    verdicts = [_verdict(metrics, threshold) for threshold in applying_to(output, thresholds)]
    broken = _broken(metrics.nonfinite)
    if broken:
        verdicts.insert(0, Verdict("finite", "failed", None, None, None, broken))
    return Comparison(output, metrics, tuple(verdicts))


def applying_to(output: str, thresholds: Sequence[Threshold]) -> list[Threshold]:
    """The thresholds that decide for `output`: for each metric the last that matches its name."""
    last = {threshold.metric: threshold for threshold in thresholds if fnmatchcase(output, threshold.output)}
    return list(last.values())


def unmatched(thresholds: Sequence[Threshold], outputs: Iterable[str], path: SpecPath) -> list[Problem]:
    """A problem for each threshold whose glob matches no output; `path` leads to the list of thresholds."""
    outputs = list(outputs)
    return [
        Problem(
            Code.UNMATCHED_OUTPUT,
            f"threshold for output '{threshold.output}' matches no output of the model",
            _nearest(threshold.output, outputs),
            path=(*path, index, "output"),
        )
        for index, threshold in enumerate(thresholds)
        if not any(fnmatchcase(output, threshold.output) for output in outputs)
    ]


def never_measured(thresholds: Sequence[Threshold], comparisons: Sequence[Comparison]) -> dict[int, str]:
    """Index of each threshold that was measured on no output at all → why."""
    missing: dict[int, str] = {}
    for index, threshold in enumerate(thresholds):
        deciding = [c for c in comparisons if threshold in applying_to(c.output, thresholds)]
        verdicts = [v for c in deciding for v in c.verdicts if v.metric == threshold.metric]
        if verdicts and all(verdict.outcome == "not_run" for verdict in verdicts):
            missing[index] = verdicts[0].why
    return missing


def failures(comparisons: Mapping[str, Comparison], place: str) -> list[Problem]:
    """The failures in words; `place` says what was measured."""
    return [
        Problem(Code.THRESHOLD_MISSED, f"output '{name}' {_words(verdict)} ({place})")
        for name, comparison in comparisons.items()
        for verdict in comparison.verdicts
        if verdict.outcome == "failed"
    ]


def _verdict(metrics: Metrics, threshold: Threshold) -> Verdict:
    value = metrics.values[threshold.metric]
    low, high = threshold.min, threshold.max
    if value is None:
        why = metrics.not_applicable.get(threshold.metric, "it was not measured")
        return Verdict(threshold.metric, "not_run", None, low, high, why)
    # NaN compares false with everything, so it never passes.
    holds = (low is None or value >= low) and (high is None or value <= high)
    return Verdict(threshold.metric, "passed" if holds else "failed", value, low, high)


def _broken(nonfinite: NonFinite) -> str:
    # NaN equals nothing, so what is NaN on both sides is counted as differing too.
    if nonfinite.nan and nonfinite.nan == nonfinite.reference_nan == nonfinite.differing:
        return f"holds NaN in {nonfinite.nan} elements, as its reference does: the model is not defined on this data"
    if nonfinite.nan:
        return f"holds NaN in {nonfinite.nan} elements"
    if nonfinite.differing:
        return f"differs from its reference in whether values are finite, in {nonfinite.differing} elements"
    return ""


def _words(verdict: Verdict) -> str:
    if verdict.why:
        return verdict.why
    bounds = [f"at least {exact_figure(verdict.min)}"] if verdict.min is not None else []
    bounds += [f"at most {exact_figure(verdict.max)}"] if verdict.max is not None else []
    assert verdict.value is not None, "without a value there is a reason"
    value = figure_beside(verdict.value, verdict.min, verdict.max)
    return f"has {verdict.metric} {value}, which must be {' and '.join(bounds)}"


def _nearest(glob: str, outputs: list[str]) -> str:
    close = difflib.get_close_matches(glob.strip("*"), outputs, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}the outputs are {', '.join(repr(name) for name in outputs)}"
