"""The HTML page of a whole build: an overview for reviewers, a table of cells, each cell, the plan, the environment.

The page stays small for any build: details of cells are included up to a few megabytes in all, and every cell also has
a page of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from trtpipe.reports.build_parts.bundle_part import bundle_section
from trtpipe.reports.build_parts.cell_rows import place_of
from trtpipe.reports.build_parts.fleet_part import fleet_section
from trtpipe.reports.build_parts.profile_part import profile_section
from trtpipe.reports.cell_parts import (
    more,
)
from trtpipe.reports.drawings.plan_graph import plan_section
from trtpipe.reports.html import Markup, code, el, facts, joined, scrolling, status
from trtpipe.reports.markdown import build_line
from trtpipe.reports.models import BuildReport, Failure
from trtpipe.reports.page import page
from trtpipe.reports.shares import MOST_ROWS, Share
from trtpipe.reports.words import (
    plural,
    shortened,
)


def build_page(report: BuildReport, shares: Sequence[Share]) -> str:
    """The page as HTML text."""
    machines = [("machines", "Machines", fleet_section(report.fleet))] if report.fleet is not None else []
    if report.profile is not None:
        machines.append(("time", "Where the time went", profile_section(report.profile)))
    bundles = [("bundles", "Bundles", bundle_section(report.bundles))] if report.bundles else []
    sections = [
        ("summary", "Summary", joined(_summary(report, shares))),
        ("cells", "Cells", joined([_filters(), _table(shares)])),
        ("details", "Each cell", joined(_each(shares))),
        *bundles,
        *machines,
        ("plan", "Plan", plan_section(shares)),
        ("environment", "Environment", _environment(report)),
    ]
    lead = el("p", status(report.status), ". ", build_line(report, shares), ".")
    return page("Build report", lead, sections)


def _summary(report: BuildReport, shares: Sequence[Share]) -> Iterator[Markup]:
    counts = report.counts
    if report.status == "interrupted":
        told = f"The build was interrupted: {plural(len(report.missing), 'cell')} missing."
        yield el("div", el("p", told), class_="notice bad")
    yield from (_failure(one) for one in report.failures[:50])
    yield _hardware(shares)
    changed = [cell for share in shares for cell in share.changed]
    networks = sum(share.networks for share in shares)
    yield facts(
        [
            ("Cells", str(counts.cells)),
            (
                "Validated",
                f"{counts.validated.passed} on the CPU, {networks} of them up to TensorRT's network, "
                f"{counts.validated.not_run} not run",
            ),
            ("Proven", f"{counts.on_gpu.passed} on a GPU, {counts.on_gpu.not_run} not run"),
            (
                "Changed",
                f"{len(changed)} since the lockfile, {sum(cell.new for cell in changed)} of them new",
            ),
            ("Removed", ", ".join(report.removed[:20]) or "none"),
            ("Elsewhere", f"{report.other_cells} in the lockfile that this build was not about"),
        ]
    )
    yield el(
        "p",
        "The same for programs: ",
        el("a", "report.json", href="report.json"), ", ",
        el("a", "junit.xml", href="junit.xml"), ", ",
        el("a", "summary.md", href="summary.md"), ".",
    )  # fmt: skip


def _failure(failure: Failure) -> Markup:
    problems = []
    for one in failure.problems[:10]:
        where = one.where
        at = f"{where.file}:{where.line}:{where.column}: " if where else ""
        problems.append(el("p", f"{at}{shortened(one.fact, 1000)}"))
        problems += [el("p", shortened(line, 300), class_="soft") for line in one.remedy.splitlines()[:6]]
    return el(
        "div",
        el("p", status("failed"), " ", code(shortened(failure.name))),
        *problems,
        class_="notice bad",
    )


def _hardware(shares: Sequence[Share]) -> Markup:
    """A notice of what no GPU has verified, placed before everything else."""
    waiting: Counter[str] = Counter()
    for share in shares:
        waiting.update(share.unproven)
    if not waiting:
        return el("p", "Every engine of this build was run on a GPU.")
    count = sum(waiting.values())
    first = f"{plural(count, 'engine')} of this build {'was' if count == 1 else 'were'} not run on any GPU: "
    told = "what is validated is the typed model, on the CPU."
    reasons = [
        el("li", f"{plural(n, 'cell')}: {shortened(why, 300)}") for why, n in list(waiting.items())[:12]
    ]
    return el("div", el("p", el("strong", first), told), el("ul", *reasons), class_="notice")


_KINDS = (
    ("", "all cells"),
    ("failed", "failed"),
    ("missing", "without an engine"),
    ("changed", "changed since the lockfile"),
    ("built", "built now"),
    ("proven", "proven on a GPU"),
    ("unproven", "not run on a GPU"),
)


def _filters() -> Markup:
    options = [el("option", name, value=value) for value, name in _KINDS]
    return el(
        "form",
        el("label", "Filter by words", el("input", id="filter-words", type="search", autocomplete="off")),
        el("label", "Show", el("select", *options, id="filter-kind")),
        el("p", "", id="filter-told", role="status", class_="soft"),
        class_="filters",
        data_needs_script=True,
        hidden=True,
        aria_label="Filter the cells",
    )


_COLUMNS = (
    ("Cell", False), ("State", False), ("On the CPU", False), ("Proved up to", False), ("On a GPU", False),
    ("Precision", False), ("Worst metric", True), ("Accuracy", True), ("Size", True), ("Built in", True),
    ("Latency p50", True),
)  # fmt: skip


def _table(shares: Sequence[Share]) -> Markup:
    head = [el("th", name, scope="col", class_="num" if number else None) for name, number in _COLUMNS]
    shown = islice((one for share in shares for one in share.shown), MOST_ROWS)
    rows = [one.row if one.details is None else one.row_inside for one in shown]
    caption = el("caption", "Cells of this build", class_="hush")
    table = el("table", caption, el("thead", el("tr", *head)), el("tbody", *rows), id="cell-table")
    left = sum(share.cells for share in shares) - MOST_ROWS
    return joined([scrolling(table, "Cells of this build"), more(left, "cell")])


def _each(shares: Sequence[Share]) -> Iterator[Markup]:
    left = sum(share.cells for share in shares)
    for one in (one for share in shares for one in share.shown if one.details is not None):
        left -= 1
        summary = el("summary", el("h3", one.cell), " ", status(one.state))
        yield el("details", summary, one.details, id=place_of(one.cell))
    if left:
        yield el(
            "p",
            f"The details of {plural(left, 'more cell')} are in the cells' own reports, beside their engines.",
        )


def _environment(report: BuildReport) -> Markup:
    return facts([(name, value) for name, value in report.environment.items()])
