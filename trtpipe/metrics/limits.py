"""Every limit that a searched variant's typed model must keep: its budget, and the thresholds at every place.

A delivered cell is checked against both, so a search that respected only the budget could choose types that fail
afterwards. `limit_problems` finds limits that no model can keep, whatever its types, before the search.

Takes reports as plain data; independent of models and of the search.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from trtpipe.errors import Problem, SpecPath
from trtpipe.figures import exact_figure
from trtpipe.json_values import JsonObject
from trtpipe.metrics.budgets import Reached, reached, unmatched_budget
from trtpipe.metrics.thresholds import applying_to
from trtpipe.metrics.verdicts import judge_report
from trtpipe.problem_codes import Code
from trtpipe.spec.budget import BudgetSpec
from trtpipe.spec.limits import Limits
from trtpipe.spec.pipeline import Threshold

if TYPE_CHECKING:
    from trtpipe.metrics.verdicts import Judgement

_RANGES: Mapping[str, tuple[float, float]] = {
    "max_abs": (0.0, math.inf),
    "max_rel": (0.0, math.inf),
    "mean_abs": (0.0, math.inf),
    "rmse": (0.0, math.inf),
    "cosine": (-1.0, 1.0),
    "psnr": (-math.inf, math.inf),
    "snr": (-math.inf, math.inf),
    "top1_agreement": (0.0, 1.0),
    "top5_agreement": (0.0, 1.0),
    "accuracy": (0.0, 1.0),
}
"""The least and the most that a metric can be."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The result of comparing a report with limits."""

    budget: Reached
    missed: tuple[str, ...]
    """The limits that are missed, each in a sentence, the budget first; empty when all are kept."""
    excess: float
    """How far outside all of them together, each in its metric's own unit; 0 when all are kept."""
    over_budget: bool


def standing(record: JsonObject, limits: Limits) -> Standing:
    """Compares a report with limits; without thresholds, outputs must still be finite at every place.

    Raises Malformed when it is not a report.
    """
    budget = reached(record, limits.budget)
    judgement = judge_report(record, limits.thresholds)
    missed = [budget.why] if not budget.inside else []
    missed += [problem.fact for problem in judgement.problems]
    excess = budget.excess + sum(_misses(judgement))
    return Standing(budget, tuple(missed), excess, not budget.inside)


def _misses(judgement: Judgement) -> Iterator[float]:
    """How far each threshold is missed; infinite where nothing was measured, or the value is not finite."""
    measured = [one for one in judgement.verdicts if one["outcome"] == "failed"]
    yield from (_distance(one) for one in measured)
    yield from (math.inf for _ in range(len(judgement.problems) - len(measured)))


def _distance(verdict: Mapping[str, Any]) -> float:
    value, low, high = verdict["value"], verdict["min"], verdict["max"]
    if value is None or not math.isfinite(value):
        return math.inf
    return max(low - value if low is not None else 0.0, value - high if high is not None else 0.0)


# -- limits that no model can keep


def limit_problems(
    thresholds: Sequence[Threshold],
    budgets: Mapping[str, BudgetSpec],
    outputs: Sequence[str],
    *,
    labelled: bool,
) -> Iterator[Problem]:
    """Problems of budgets and thresholds for a model of these outputs; `labelled`: the data have labels.

    `budgets` has those of the searched variants.
    """
    for variant, budget in budgets.items():
        path = ("variants", variant, "budget")
        yield from unmatched_budget(budget, outputs, path)
        if budget.needs_labels and not labelled:
            fact = "the budget is about accuracy, but the validation data has no labels"
            remedy = "give the data set labels, or a budget of another metric: {metric: cosine, min: 0.999}"
            yield Problem(Code.LABELS, fact, remedy, path=path)
    yield from contradictions(thresholds, budgets, outputs)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The lowest and highest allowed value."""

    low: float
    high: float

    def within(self, other: _Bounds) -> _Bounds:
        return _Bounds(max(self.low, other.low), min(self.high, other.high))

    @property
    def is_empty(self) -> bool:
        return self.low > self.high


def contradictions(
    thresholds: Sequence[Threshold], budgets: Mapping[str, BudgetSpec], outputs: Sequence[str]
) -> Iterator[Problem]:
    """Limits that no model with these outputs can keep, by themselves or because a budget contradicts a threshold."""
    hopeless = [one for one in thresholds if _bounds(one).is_empty]
    for index, threshold in enumerate(thresholds):
        if threshold in hopeless:
            yield _never(threshold, ("validate", "thresholds", index))
    for variant, budget in budgets.items():
        path = ("variants", variant, "budget")
        if budget.metric is None:
            continue
        if _bounds(budget).is_empty:
            yield _never(budget, path)
            continue
        rest = [one for one in thresholds if one not in hopeless]
        yield from _between(budget, rest, [one for one in outputs if fnmatchcase(one, budget.output)], path)


def _between(
    budget: BudgetSpec, thresholds: Sequence[Threshold], outputs: Sequence[str], path: SpecPath
) -> Iterator[Problem]:
    """The first output for which a budget and a threshold exclude each other."""
    for output in outputs:
        for one in applying_to(output, thresholds):
            if one.metric == budget.metric and _bounds(budget).within(_bounds(one)).is_empty:
                fact = (
                    f"the budget requires {budget.metric} {_words(budget)}, but thresholds require output '{output}' "
                    f"{_words(one)}: both cannot be met"
                )
                yield Problem(Code.OUT_OF_RANGE, fact, "change or remove one of them", path=path)
                return


def _never(asked: Threshold | BudgetSpec, path: SpecPath) -> Problem:
    if _own(asked).is_empty:
        fact = f"{asked.metric} must be {_words(asked)}: that cannot be met"
        return Problem(Code.OUT_OF_RANGE, fact, "leave out min or max", path=path)
    low, high = _RANGES[str(asked.metric)]
    span = f"between {low:g} and {high:g}" if math.isfinite(high) else f"{low:g} or more"
    fact = f"{asked.metric} must be {_words(asked)}, and is always {span}: that cannot be met"
    return Problem(Code.OUT_OF_RANGE, fact, f"use a bound inside the metric's range: {span}", path=path)


def _own(asked: Threshold | BudgetSpec) -> _Bounds:
    low = asked.min if asked.min is not None else -math.inf
    return _Bounds(low, asked.max if asked.max is not None else math.inf)


def _bounds(asked: Threshold | BudgetSpec) -> _Bounds:
    return _own(asked).within(_Bounds(*_RANGES[str(asked.metric)]))


def _words(asked: Threshold | BudgetSpec) -> str:
    parts = [f"at least {exact_figure(asked.min)}"] if asked.min is not None else []
    parts += [f"at most {exact_figure(asked.max)}"] if asked.max is not None else []
    return " and ".join(parts)
