"""Checks a validation report against an accuracy budget: whether it is kept, and by how much it is missed.

A budget applies to the declared data (or recorded outputs), not to the corners of profiles, which have one sample each.
Takes the report as plain data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trtpipe.errors import Problem, SpecPath
from trtpipe.figures import figure_beside
from trtpipe.json_values import JsonObject
from trtpipe.metrics.metrics import Metrics
from trtpipe.metrics.reports import Report, read_report
from trtpipe.problem_codes import Code
from trtpipe.spec.budget import BudgetSpec

_MEASURED = ("data", "golden")


@dataclass(frozen=True, slots=True)
class Reached:
    """The result of comparing a report with a budget."""

    inside: bool
    value: float | None
    """The metric, or the drop, of the worst output; None when it was not measured."""
    excess: float
    """How far outside, in the metric's own unit; 0 inside, infinite when something is not finite."""
    noise: float
    """The error's power over the signal's, of the worst output: what errors are ranked by."""
    why: str = ""
    """What is wrong, in words; empty inside."""


def reached(record: JsonObject, budget: BudgetSpec) -> Reached:
    """Compares a report's measurements with the budget. Raises Malformed if it is not a report."""
    report = read_report(record)
    outputs = dict(_outputs(report))
    noise = max((_noise(one) for one in outputs.values()), default=math.inf)
    wanted = {name: one for name, one in outputs.items() if fnmatchcase(name, budget.output)}
    if not wanted:
        return Reached(False, None, math.inf, noise, _nothing(report))
    broken = [name for name, one in wanted.items() if _is_broken(one)]
    values = {name: _value(one, budget) for name, one in wanted.items()}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return Reached(False, None, math.inf, noise, _not_measured(wanted, budget))
    name, value = max(known.items(), key=lambda one: _excess(one[1], budget))
    excess = math.inf if broken else max(_excess(value, budget), 0.0)
    if broken:
        return Reached(
            False, value, excess, math.inf, f"output '{broken[0]}' is not finite where its reference is"
        )
    # NaN compares false with everything, so it is never within the budget.
    inside = _excess(value, budget) <= 0
    told = figure_beside(value, budget.min, budget.max, fewest=8)
    why = "" if inside else f"output '{name}' has {named(budget)} {told}, not {budget.words()}"
    return Reached(inside, value, excess, noise, why)


def named(budget: BudgetSpec) -> str:
    """The metric and output of a budget, in words."""
    return budget.metric or "accuracy drop"


def unmatched_budget(budget: BudgetSpec, outputs: Sequence[str], path: SpecPath) -> Iterator[Problem]:
    """A problem when the budget's glob matches no output; `path` leads to the budget."""
    if not any(fnmatchcase(name, budget.output) for name in outputs):
        listed = ", ".join(repr(name) for name in outputs)
        fact = f"budget for output '{budget.output}' matches no output of the model"
        yield Problem(Code.UNMATCHED_OUTPUT, fact, f"the outputs are {listed}", path=(*path, "output"))


def _outputs(report: Report) -> Iterator[tuple[str, Metrics]]:
    for place in report.places:
        if place.kind in _MEASURED:
            yield from place.outputs.items()


def _value(metrics: Metrics, budget: BudgetSpec) -> float | None:
    if budget.metric is not None:
        return metrics.values[budget.metric]
    accuracy, reference = metrics.values["accuracy"], metrics.reference_accuracy
    return None if accuracy is None or reference is None else reference - accuracy


def _excess(value: float, budget: BudgetSpec) -> float:
    """How far a value exceeds its bound; negative if it is within."""
    low, high = budget.min, budget.max
    if budget.accuracy_drop is not None:
        # Shares of samples are differences of two rounded quotients: a drop of exactly the budget is within it.
        low, high = None, budget.accuracy_drop + 1e-12
    misses = [low - value] if low is not None else []
    misses += [value - high] if high is not None else []
    return math.inf if math.isnan(value) else max(misses)


def _noise(metrics: Metrics) -> float:
    if _is_broken(metrics):
        return math.inf
    snr = metrics.values["snr"]
    if snr is None:
        return 0.0 if not metrics.differing else math.inf
    return float(10 ** (-snr / 10))


def _is_broken(metrics: Metrics) -> bool:
    return bool(metrics.nonfinite.differing or metrics.nonfinite.nan)


def _nothing(report: Report) -> str:
    why = next((one.why for one in report.not_run), "the report contains no data")
    return f"nothing was measured: {why}"


def _not_measured(wanted: Mapping[str, Metrics], budget: BudgetSpec) -> str:
    asked = budget.metric or "accuracy"
    name, metrics = next(iter(wanted.items()))
    return f"{asked} of output '{name}' was not measured: {metrics.not_applicable.get(asked, 'it has no reference')}"
