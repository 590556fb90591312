"""Sections that the pages of builds and cells share: verdicts, changes, checks not run, error bars."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.reports.drawings.bars import histogram_bars
from trtpipe.reports.html import Content, Markup, code, el, joined, status, table
from trtpipe.reports.models import CellRecord, Validation
from trtpipe.reports.part_models import Place, Verdict
from trtpipe.reports.words import (
    NONE,
    bound_words,
    fact_words,
    metric_words,
    number_words,
    plural,
    shortened,
)

_MOST_VERDICTS = 60
_MOST_ITEMS = 40


def verdict_table(verdicts: Sequence[Verdict], caption: str, most: int = _MOST_VERDICTS) -> Markup | None:
    """A row for each threshold at each place: failed ones first, then those nearest to their bounds."""
    if not verdicts:
        return None
    order = {"failed": 0, "not run": 1, "passed": 2}
    rows: list[list[Content]] = [
        [
            shortened(one.place),
            code(shortened(one.output)),
            shortened(one.metric),
            metric_words(one.value),
            bound_words(one),
            status(one.outcome, f"({shortened(one.why)})" if one.why else ""),
        ]
        for one in sorted(verdicts, key=lambda one: (order[one.outcome], _margin(one)))[:most]
    ]
    header = ("on", "output", "metric", "value", "must be", "outcome")
    return joined(
        [table(header, rows, caption=caption, numeric=(3, 4)), more(len(verdicts) - most, "verdict")]
    )


def _margin(verdict: Verdict) -> float:
    """The relative distance of a value from its bound, used to sort equal outcomes: the nearest come first."""
    value, bound = verdict.value, verdict.min if verdict.min is not None else verdict.max
    if bound is None or not isinstance(value, (int, float)):
        return 0.0
    return float(abs(value - bound) / max(abs(bound), 1e-12))


def more(count: int, noun: str) -> Markup | None:
    """A note on how many entries a page leaves out."""
    return el("p", f"{plural(count, f'more {noun}')} in report.json.", class_="soft") if count > 0 else None


def change_table(cell: CellRecord) -> Markup:
    """Old and new of every fact of the lockfile that changed."""
    if not cell.changes:
        return el("p", "Nothing: the lockfile says the same.", class_="soft")
    if cell.new:
        return el("p", "The lockfile did not have this cell.")
    rows: list[list[Content]] = [
        [one.field.replace("_", " "), code(fact_words(one.old)), code(fact_words(one.new))]
        for one in cell.changes[:_MOST_ITEMS]
    ]
    return table(("field", "old", "new"), rows, caption=f"Changes of {cell.cell}")


def not_run_list(cell: CellRecord) -> Markup | None:
    """The checks that were not run, with their reasons."""
    items = [el("li", status("not run"), f": {shortened(one, 400)}") for one in cell.not_run[:_MOST_ITEMS]]
    left = more(len(cell.not_run) - _MOST_ITEMS, "that was not run")
    return joined([el("ul", *items), left]) if items else None


def problem_list(problems: Sequence[str]) -> Markup | None:
    """Problems as a list of sentences."""
    items = [el("p", shortened(one, 1000)) for one in problems[:_MOST_ITEMS]]
    return el("div", *items, class_="notice bad") if items else None


def error_figures(places: Sequence[Place], most: int) -> Markup | None:
    """Absolute errors of each output at each place as bars, with the largest and the mean in words."""
    figures = [
        el(
            "figure",
            histogram_bars(output.errors, f"Absolute errors of {shortened(output.output)}"),
            el(
                "figcaption",
                code(shortened(output.output, 60)),
                f" on {shortened(place.place, 60)}: absolute errors up to "
                f"{number_words(output.metrics.get('max_abs'), 3)}, mean "
                f"{number_words(output.metrics.get('mean_abs'), 3)}",
            ),
        )
        for place in places
        for output in place.outputs
        if output.errors is not None
    ]
    if not figures:
        return None
    return joined([el("div", *figures[:most], class_="plots"), more(len(figures) - most, "histogram")])


def accuracy_words(validation: Validation) -> str:
    """`0.988 (reference 0.989)`."""
    found, reference = validation.accuracy, validation.reference_accuracy
    if found is None:
        return NONE
    return number_words(found, 4) + (
        f" (reference {number_words(reference, 4)})" if reference is not None else ""
    )
