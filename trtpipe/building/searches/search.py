"""Performs a search action: the search runs in this process, its evaluations go through the store.

If the lockfile has a choice for exactly this search, that choice is used: so a fresh clone gets the same typed models
without searching.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from trtpipe.building.searches.evaluations import Evaluations
from trtpipe.errors import Problem, StepFailed
from trtpipe.lockfile.entries import FROM_LOCK
from trtpipe.lockfile.recipes import recipe_of
from trtpipe.metrics.budgets import named
from trtpipe.metrics.limits import standing
from trtpipe.plan.events import Warned
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action
from trtpipe.plan.options import SearchOptions
from trtpipe.plan.ports import ActionResult, Observer
from trtpipe.plan.requirements import PlaceRequirements
from trtpipe.problem_codes import Code
from trtpipe.search.choices import Choice, Ladder, choice_text, exactly, ladders_of
from trtpipe.search.costs import costs_of
from trtpipe.search.measurements import Ledger, Measured, Point, rounded
from trtpipe.search.search import Found, OutOfReach, Sensitivity, Space, search
from trtpipe.search.steps import CHOICE_FILE, SEARCH_FILE
from trtpipe.spec.budget import BudgetSpec
from trtpipe.spec.limits import Limits
from trtpipe.spec.pipeline import Threshold
from trtpipe.targets.compute_capability import ComputeCapability

SCHEMA = 1
_SHOWN = 5


def perform_search(
    evaluations: Evaluations, observer: Observer, locked: Mapping[str, Record]
) -> ActionResult:
    """The choice of a search action, found or taken from the lockfile, as files in the scratch directory.

    Raises StepFailed when no choice meets the limits, and what evaluating raises.
    """
    action = evaluations.action
    limits = limits_of(action)
    budget = limits.budget
    known = locked.get(recipe_of(action.fingerprint.record()))
    if known is not None and not _is_possible(known, evaluations):
        text = f"the lockfile's choice for {action.address} is not a possible result of a search: searching again"
        observer.emit(Warned(text, action.address))
    elif known is not None:
        choice = Choice.from_json(known)
        summary = {
            "choice": choice.to_json(),
            "reached": known["reached"],
            "from": FROM_LOCK,
            "budget": budget.words(),
        }
        return _result(evaluations.scratch, choice, summary)
    options = _options_of(action)
    ladders = ladders_for(options.try_)
    spaces = [space_of(evaluations, ladder, options.compute_capabilities) for ladder in ladders]
    ledger = ledger_of(evaluations, limits, observer)
    try:
        found = search(spaces, ledger)
    except OutOfReach as error:
        raise _out_of_reach(action, limits, error) from error
    summary = {"choice": found.point.choice.to_json(), **_told(budget, found, ledger), "from": "a search"}
    return _result(evaluations.scratch, found.point.choice, summary | {"evaluations_run": evaluations.ran})


def _is_possible(known: Record, evaluations: Evaluations) -> bool:
    """Whether a search could have had this result; a lockfile may be edited by hand, or written by another version.

    Kept nodes are named one by one, in addition to the globs of the spec's own `keep`.
    """
    options = _options_of(evaluations.action)
    held = {name: set(globs) for name, globs in options.quantize.keep.items()}
    for ladder in ladders_for(options.try_):
        if known["precision"] not in ladder.levels or known["base"] not in (None, ladder.base):
            continue
        nodes = {exactly(node) for unit in evaluations.units(ladder) for node in unit.nodes}
        given = known["keep"].items()
        if all(set(globs) <= held.get(name, set()) | nodes for name, globs in given) and (
            set(known["keep"]) <= {*ladder.levels, *held}
        ):
            return True
    return False


def limits_of(action: Action) -> Limits:
    """The limits of a search action: its budget, including the time limit, and the thresholds."""
    options = _options_of(action)
    most = {"max_evaluations": options.max_evaluations, "max_seconds": options.max_seconds}
    thresholds = tuple(Threshold.model_validate(dict(one)) for one in options.thresholds)
    return Limits(BudgetSpec.model_validate({**options.budget, **most}), thresholds)


def _options_of(action: Action) -> SearchOptions:
    return SearchOptions.from_record(action.fingerprint.options)


def heads_of(candidates: Sequence[str]) -> list[tuple[str, str | None]]:
    """The possible results of a search over some precisions, except fp32: each precision with its base."""
    levels = [(one, ladder) for ladder in ladders_for(candidates) for one in ladder.levels]
    bases = {one: ladder.base if one == ladder.head else None for one, ladder in reversed(levels)}
    return [(one, bases[one]) for one in dict.fromkeys(candidates)]


def ladders_for(candidates: Sequence[str]) -> tuple[Ladder, ...]:
    """The ladders of some precisions, cheapest first."""
    from trtpipe.precisions import find_precision

    found = {name: find_precision(name) for name in (*candidates, "fp32")}
    known = {name: one for name, one in found.items() if one is not None}
    quantized = [name for name, one in known.items() if one.quantized]
    return ladders_of(candidates, quantized, {name: one.keeps for name, one in known.items()})


def space_of(evaluations: Evaluations, ladder: Ladder, capabilities: Sequence[str]) -> Space:
    """The choices that are open to a search."""
    from trtpipe.precisions import find_precision

    head = find_precision(ladder.head)
    assert head is not None, "the loader knows the precisions"
    units = evaluations.units(ladder)
    boards = [ComputeCapability.parse(one) for one in capabilities]
    costs = costs_of(ladder, units, boards, weights_alone=bool(head.block and not head.dynamic))
    return Space(ladder, units, costs, evaluations.plain(ladder.head, None).keep)


def ledger_of(evaluations: Evaluations, limits: Limits, observer: Observer) -> Ledger:
    """A ledger whose points are measured by evaluations."""
    budget, measure = limits.budget, measuring(evaluations, limits)
    ends = time.monotonic() + budget.max_seconds if budget.max_seconds is not None else None
    return Ledger(
        measure,
        budget.max_evaluations,
        (lambda: time.monotonic() > ends) if ends is not None else lambda: False,
        evaluations.telling(observer),
        partial(evaluations.ahead, measure),
    )


def measuring(evaluations: Evaluations, limits: Limits) -> Callable[[Choice], Measured]:
    """A function that measures a choice against limits, also at the corners of profiles if the subject has them."""
    corners = evaluations.subject.validate.corners

    def measure(choice: Choice) -> Measured:
        report = evaluations.report(choice, corners=corners)
        found = standing(report, limits)
        return Measured(
            not found.missed,
            found.budget.value,
            found.excess,
            found.budget.noise,
            report.get("weight_bytes", 0),
            found.missed,
            found.over_budget,
        )

    return measure


def _told(budget: BudgetSpec, found: Found, ledger: Ledger) -> dict[str, Any]:
    point = found.point
    return {
        "budget": budget.words(),
        "reached": reached_words(budget, point.measured.value),
        "cost": rounded(point.cost),
        "weight_bytes": point.measured.weight_bytes,
        "evaluations": len(ledger.points),
        "bounded": found.bounded,
        "front": [one.to_json() for one in ledger.front()],
        "points": [one.to_json() for one in ledger.points.values()],
        "sensitivities": [sensitivity_json(space, one) for space, one in found.sensitivities],
    }


def sensitivity_json(space: Space, one: Sensitivity) -> dict[str, Any]:
    """One row of a ranking as a JSON object."""
    units = [space.units[index] for index in one.units]
    return {
        "unit": units[0].name,
        "op": units[0].op,
        "nodes": [node for unit in units for node in unit.nodes],
        "precision": space.ladder.levels[space.ladder.lowest(units[0])],
        "noise": rounded(one.noise),
        "value": rounded(one.measured.value),
        "weights": sum(unit.weights for unit in units),
        "saving": rounded(one.saving),
    }


def reached_words(budget: BudgetSpec, value: float | None) -> str:
    """The value reached, as text: `cosine 0.99951`."""
    return f"{named(budget)} {value:.8g}" if value is not None else f"{named(budget)} not measured"


def _result(scratch: Path, choice: Choice, summary: Mapping[str, Any]) -> ActionResult:
    told = {name: value for name, value in summary.items() if name != "evaluations_run"}
    search_text = json.dumps({"schema": SCHEMA, **told}, indent=1, sort_keys=True) + "\n"
    files = {CHOICE_FILE: choice_text(choice), SEARCH_FILE: search_text}
    paths = {name: scratch / name for name in files}
    for name, text in files.items():
        paths[name].write_text(text, encoding="utf-8")
    return ActionResult(paths, {k: v for k, v in summary.items() if k != "points"})


def _out_of_reach(action: Action, limits: Limits, error: OutOfReach) -> StepFailed:
    """The error for limits that cannot be met, naming the budget or threshold and the best value reached."""
    budget, best = limits.budget, error.best
    over = best is None or best.measured.over_budget
    tried = ", ".join(_options_of(action).try_)
    wanted = (
        f"the budget: {budget.words()}" if over else f"the thresholds, beside the budget: {budget.words()}"
    )
    fact = f"no types of {tried} and fp32 that were tried satisfy {wanted}"
    lines, remedy = [_best(budget, best)] if best is not None else [], ""
    if error.bounded:
        lines.append(f"the search stopped at {error.bounded}: {getattr(budget, error.bounded):g}")
        remedy = f"raise {error.bounded}: the search continues where it stopped"
    elif best is not None and best.choice.precision == "fp32":
        lines.append(
            "that is with every node in fp32, so it is not the types that limit it, but the network, the data or the "
            "limit itself"
        )
    asked = action.requirements
    assert isinstance(asked, PlaceRequirements), "a search's action says where its budget is"
    path = asked.path if over else ("validate", "thresholds")
    return StepFailed(Problem(Code.OUT_OF_REACH, fact, remedy, path=path, details="\n".join(lines)))


def _best(budget: BudgetSpec, best: Point) -> str:
    value = reached_words(budget, best.measured.value)
    return f"the best reached is {value}, with {choice_words(best.choice)}: {best.measured.why}"


def choice_words(choice: Choice) -> str:
    """A choice as text: `precision int8, base fp16, 3 nodes kept in fp16 ('/c2/Conv', …)`."""
    parts = [f"precision {choice.precision}"] + ([f"base {choice.base}"] if choice.base else [])
    for name, globs in choice.keep.items():
        shown = ", ".join(f"'{one}'" for one in globs[:_SHOWN]) + (", …" if len(globs) > _SHOWN else "")
        parts.append(f"{len(globs)} node{'' if len(globs) == 1 else 's'} kept in {name} ({shown})")
    return ", ".join(parts)
