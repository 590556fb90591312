"""`sensitivity`: the effect of each unit's precision on the outputs. Every measurement is a cached evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from trtpipe.app.debug.subjects import Subject, nothing_lowered
from trtpipe.building.searches.search import measuring, sensitivity_json, space_of
from trtpipe.plan.ports import Observer
from trtpipe.search.measurements import Ledger, Measured, rounded
from trtpipe.search.search import Space, measured, ranked, sensitivities
from trtpipe.spec.budget import BudgetSpec, MetricName
from trtpipe.spec.limits import Limits

_LARGER_IS_BETTER = frozenset({"cosine", "psnr", "snr", "top1_agreement", "top5_agreement", "accuracy"})
_NO_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class Ranking:
    """The units of a variant, the most harmful first."""

    metric: str
    rows: list[dict[str, Any]]
    """Records of `sensitivity_json`, with `kept_value` if that was requested."""
    lowered: Measured
    """The variant's result with every unit lowered."""
    wide: Measured
    """Its result with no unit lowered."""
    asked: int
    ran: int


def rank_units(subject: Subject, observer: Observer, *, metric: MetricName, kept: bool = False) -> Ranking:
    """Measures each unit lowered alone; with `kept`, also everything lowered but it.

    Raises SpecError when the variant lowers nothing, and what evaluating raises.
    """
    ladder = subject.ladder
    if not ladder.widest:
        raise nothing_lowered(subject)
    space = space_of(subject.evaluations, ladder, subject.capabilities)
    if not space.units:
        raise nothing_lowered(subject)
    ledger = ledger_for(subject, observer, metric)
    ledger.phase = "sensitivity"
    found = ranked(list(sensitivities(space, ledger, ladder.widest, len(space.units))))
    rows = []
    for one in sorted(found, key=lambda one: -_harm(one.measured, metric)):
        row = sensitivity_json(space, one)
        if kept:
            row["kept_value"] = rounded(_kept_alone(space, ledger, one.units[0]).value)
        rows.append(row)
    return Ranking(
        metric,
        rows,
        measured(space, ledger, space.uniform(0)),
        measured(space, ledger, space.uniform(ladder.widest)),
        len(ledger.points),
        subject.evaluations.ran,
    )


def ledger_for(subject: Subject, observer: Observer, metric: MetricName) -> Ledger:
    """A ledger without limits; the value of a point is the metric of the worst output."""
    bound = {"min": 0.0} if metric in _LARGER_IS_BETTER else {"max": 0.0}
    budget = BudgetSpec.model_validate({"metric": metric, **bound})
    measure = measuring(subject.evaluations, Limits(budget))
    ahead = partial(subject.evaluations.ahead, measure)
    return Ledger(measure, _NO_LIMIT, tell=subject.telling(observer), ahead=ahead)


def _kept_alone(space: Space, ledger: Ledger, unit: int) -> Measured:
    return measured(space, ledger, space.lowered(space.uniform(0), unit, space.ladder.widest))


def _harm(one: Measured, metric: str) -> float:
    if one.value is None:
        return float("inf")
    return -one.value if metric in _LARGER_IS_BETTER else one.value
