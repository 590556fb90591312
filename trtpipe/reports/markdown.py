"""A build as Markdown for a pull request: cells, changes since the lockfile, failures, checks that did not run.

Names are in code spans, so that `fp16@ada` mentions nobody; everything else is escaped. The length is limited to what a
GitHub step summary accepts (1 MiB).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from trtpipe.reports.build_parts.bundle_part import bundle_rows
from trtpipe.reports.cells import worst_verdict
from trtpipe.reports.models import BuildReport, BundleRecord, CellRecord, Failure, OnGpu
from trtpipe.reports.reach import proved_words
from trtpipe.reports.shares import Share
from trtpipe.reports.words import (
    NONE,
    fact_words,
    metric_words,
    mix_words,
    number_words,
    plural,
    seconds_words,
    shortened,
    size_words,
)

_MOST_ROWS = 200
_SPECIAL = str.maketrans(
    {char: f"\\{char}" for char in "\\`*_{}[]#+!|~@"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_STATE_MARKS = {"failed": "❌", "not built": "⚪", "built": "🔨", "restored": "📦", "up to date": "✔"}


def build_markdown(report: BuildReport, shares: Sequence[Share]) -> str:
    """The page of a build."""
    return "\n".join(_lines(report, shares)).rstrip() + "\n"


def build_line(report: BuildReport, shares: Sequence[Share]) -> str:
    """`15 cells: 2 built, 13 up to date; 15 validated on the CPU, 14 up to TensorRT's network, 0 proven on a GPU`."""
    counts = report.counts
    states = ", ".join(f"{count} {state}" for state, count in counts.states.items())
    return (
        f"{plural(counts.cells, 'cell')}: {states}; {counts.validated.passed} validated on the CPU, "
        f"{sum(share.networks for share in shares)} up to TensorRT's network, "
        f"{counts.on_gpu.passed} proven on a GPU"
    )


def _lines(report: BuildReport, shares: Sequence[Share]) -> Iterator[str]:
    yield f"## trtpipe build: {report.status}"
    yield ""
    yield build_line(report, shares) + "."
    yield ""
    if report.status == "interrupted":
        yield f"The build was interrupted: {plural(len(report.missing), 'cell')} missing."
        yield ""
    yield from _failures(report.failures)
    yield from _bundles(report.bundles)
    yield from _cells(shares)
    yield from _changes(report, [cell for share in shares for cell in share.changed])
    yield from _not_run(shares)
    if report.other_cells:
        yield f"The lockfile has {plural(report.other_cells, 'more cell')}, which this build was not about."


def _failures(failures: Sequence[Failure]) -> Iterator[str]:
    if not failures:
        return
    yield "### Failures"
    yield ""
    for one in failures[:_MOST_ROWS]:
        yield f"- {_code(one.name)}"
        for problem in one.problems[:20]:
            where = problem.where
            at = f"{_code(f'{where.file}:{where.line}:{where.column}')}: " if where else ""
            yield f"  - {at}{_plain(problem.fact, 1000)}"
            if problem.remedy:
                yield f"    {_plain(problem.remedy.splitlines()[0], 500)}"
    yield from _more(len(failures), "failure")
    yield ""


def _bundles(bundles: Sequence[BundleRecord]) -> Iterator[str]:
    if not bundles:
        return
    yield "### Bundles"
    yield ""
    rows = (
        (_code(name), state, _plain(verdicts), _plain(most))
        for name, state, verdicts, most in bundle_rows(bundles)
    )
    yield from _table(("bundle", "state", "the whole on the CPU", "costs most"), rows)
    yield ""


def _cells(shares: Sequence[Share]) -> Iterator[str]:
    shown = islice((one for share in shares for one in share.shown), _MOST_ROWS)
    header = (
        "cell",
        "state",
        "on the CPU",
        "proved up to",
        "on a GPU",
        "precision",
        "layers",
        "worst",
        "accuracy",
        "size",
        "built in",
    )
    yield "### Cells"
    yield ""
    yield from _table(header, (one.summary for one in shown))
    yield from _more(sum(share.cells for share in shares), "cell")
    yield ""


def summary_row(cell: CellRecord) -> tuple[str, ...]:
    """A cell's row in the table."""
    worst = worst_verdict(cell)
    accuracy = cell.validation.accuracy
    return (
        _code(cell.cell),
        f"{_STATE_MARKS[cell.state]} {cell.state}",
        cell.validation.outcome,
        proved_words(cell.reach),
        _gpu(cell.on_gpu),
        _plain(cell.precision or NONE),
        _plain(mix_words(cell.layers)) or NONE,
        f"{_plain(worst.metric)} {metric_words(worst.value)}" if worst else NONE,
        number_words(accuracy, 4),
        size_words(cell.engine.bytes if cell.engine else None),
        seconds_words(cell.seconds.get("build_engine")),
    )


def _gpu(proof: OnGpu) -> str:
    if proof.outcome == "not run":
        return f"not run: {_plain(proof.why, 80)}"
    return f"{proof.outcome} on {_plain(proof.gpu or 'a GPU', 80)}"


def _changes(report: BuildReport, changed: Sequence[CellRecord]) -> Iterator[str]:
    if not changed and not report.removed:
        return
    yield "### Changed since the lockfile"
    yield ""
    new = [cell for cell in changed if cell.new]
    old = [cell for cell in changed if not cell.new]
    rows = [
        (
            _code(cell.cell),
            one.field.replace("_", " "),
            _plain(fact_words(one.old)),
            _plain(fact_words(one.new)),
        )
        for cell in old[:_MOST_ROWS]
        for one in cell.changes
    ]
    if rows:
        yield from _table(("cell", "field", "old", "new"), rows[:_MOST_ROWS])
        yield from _more(len(rows), "change")
        yield ""
    yield from (f"- new: {_code(cell.cell)}" for cell in new[:_MOST_ROWS])
    yield from (f"- removed: {_code(name)}" for name in report.removed[:_MOST_ROWS])
    yield ""


def _not_run(shares: Sequence[Share]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for share in shares:
        for reason, names in share.not_run.items():
            reasons.setdefault(reason, []).extend(names)
    if not reasons:
        return
    yield "### Not run"
    yield ""
    for reason, names in list(reasons.items())[:_MOST_ROWS]:
        shown = ", ".join(_code(name) for name in names[:4])
        yield f"- {_plain(reason, 400)} ({shown}{f' and {len(names) - 4} more' if len(names) > 4 else ''})"
    yield from _more(len(reasons), "reason")
    yield ""


def _more(count: int, noun: str) -> Iterator[str]:
    if count > _MOST_ROWS:
        yield ""
        yield f"… and {plural(count - _MOST_ROWS, f'more {noun}')}, which `report.json` has."


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _plain(text: str, most: int = 96) -> str:
    """The text with all Markdown escaped."""
    return shortened(text, most).translate(_SPECIAL)


def _code(text: str) -> str:
    """The text as a code span; within one, only the backtick and the pipe mean anything."""
    return "`" + shortened(text, 200).replace("`", "'").replace("|", "\\|") + "`"
