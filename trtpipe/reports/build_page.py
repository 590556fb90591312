"""The HTML page of a whole build: an overview for reviewers, a table of cells, each cell, the plan, the environment.

The page stays small for any build: details of cells are included up to a few megabytes in all, and every cell also has
a page of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtpipe.reports.build_parts.bundle_part import bundle_section
from trtpipe.reports.build_parts.fleet_part import fleet_section
from trtpipe.reports.build_parts.profile_part import profile_section
from trtpipe.reports.cell_parts import (
    accuracy_words,
    change_table,
    error_figures,
    more,
    not_run_list,
    problem_list,
    verdict_table,
)
from trtpipe.reports.cells import worst_verdict
from trtpipe.reports.drawings.plan_graph import plan_section
from trtpipe.reports.html import Content, Markup, code, el, facts, joined, scrolling, status
from trtpipe.reports.markdown import build_line
from trtpipe.reports.models import BuildReport, CellRecord, Engine, Failure
from trtpipe.reports.page import page
from trtpipe.reports.part_models import Place, Reading
from trtpipe.reports.reach import proved_words, with_network
from trtpipe.reports.words import (
    NONE,
    clipped,
    metric_words,
    micros_words,
    mix_words,
    number_words,
    plural,
    seconds_words,
    shortened,
    size_words,
)

_MOST_DETAILS = 3_000_000  # characters of the cells' details, so that the page stays under 5 MB
_MOST_ROWS = 1500
_MOST_FIGURES = 2
_MOST_VERDICTS = 4


class CellDetails:
    """Collects the cells' details one by one, so that only one validation is in memory at a time."""

    def __init__(self) -> None:
        self.parts: dict[str, Markup] = {}
        self._length = 0

    @property
    def has_room(self) -> bool:
        """Whether a cell's details are still added."""
        return self._length <= _MOST_DETAILS

    def add(self, cell: CellRecord, places: Sequence[Place]) -> None:
        """Adds a cell's details, as long as there is room."""
        if not self.has_room:
            return
        made = _details(cell, places)
        self._length += len(made)
        self.parts[cell.cell] = made


def build_page(report: BuildReport, details: CellDetails) -> str:
    """The page as HTML text."""
    machines = [("machines", "Machines", fleet_section(report.fleet))] if report.fleet is not None else []
    if report.profile is not None:
        machines.append(("time", "Where the time went", profile_section(report.profile)))
    bundles = [("bundles", "Bundles", bundle_section(report.bundles))] if report.bundles else []
    sections = [
        ("summary", "Summary", joined(_summary(report))),
        ("cells", "Cells", joined([_filters(), _table(report.cells, details)])),
        ("details", "Each cell", joined(_each(report.cells, details))),
        *bundles,
        *machines,
        ("plan", "Plan", plan_section(report.steps)),
        ("environment", "Environment", _environment(report)),
    ]
    lead = el("p", status(report.status), ". ", build_line(report), ".")
    return page("Build report", lead, sections)


def _summary(report: BuildReport) -> Iterator[Markup]:
    counts, cells = report.counts, report.cells
    if report.status == "interrupted":
        told = f"The build was interrupted: {plural(len(report.missing), 'cell')} missing."
        yield el("div", el("p", told), class_="notice bad")
    yield from (_failure(one) for one in report.failures[:50])
    yield _hardware(report)
    changed = [cell for cell in cells if cell.changes]
    networks = with_network(cell.reach for cell in cells)
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


def _hardware(report: BuildReport) -> Markup:
    """A notice of what no GPU has verified, placed before everything else."""
    waiting: dict[str, int] = {}
    for cell in report.cells:
        if cell.engine is not None and cell.on_gpu.outcome == "not run":
            waiting[cell.on_gpu.why] = waiting.get(cell.on_gpu.why, 0) + 1
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


def _table(cells: Sequence[CellRecord], details: CellDetails) -> Markup:
    head = [el("th", name, scope="col", class_="num" if number else None) for name, number in _COLUMNS]
    rows = [_row(index, cell, details) for index, cell in enumerate(cells[:_MOST_ROWS])]
    caption = el("caption", "Cells of this build", class_="hush")
    shown = el("table", caption, el("thead", el("tr", *head)), el("tbody", *rows), id="cell-table")
    return joined([scrolling(shown, "Cells of this build"), more(len(cells) - _MOST_ROWS, "cell")])


def _row(index: int, cell: CellRecord, details: CellDetails) -> Markup:
    inside = cell.cell in details.parts
    link = f"#cell-{index}" if inside else f"{cell.directory}/report.html" if cell.engine else None
    name = el("a", cell.cell, href=link) if link else el("span", cell.cell)
    worst, size = worst_verdict(cell), cell.engine.bytes if cell.engine else None
    value = worst.value if worst else None
    accuracy = cell.validation.accuracy
    built = cell.seconds.get("build_engine")
    return el(
        "tr",
        el("th", name, scope="row"),
        el("td", status(cell.state)),
        el("td", status(cell.validation.outcome)),
        el("td", proved_words(cell.reach)),
        el("td", _gpu(cell)),
        el("td", _precision(cell)),
        _number(value, f"{clipped(worst.metric, 24)} {metric_words(value)}" if worst else NONE),
        _number(accuracy, number_words(accuracy, 4)),
        _number(size, size_words(size)),
        _number(built, seconds_words(built)),
        _number(cell.latency_us, _latency(cell)),
        data_tags=" ".join(_tags(cell)),
        data_text=" ".join([*cell.gpu, cell.toolchain])[:200].lower(),
        data_details=f"cell-{index}" if inside else None,
    )


def _latency(cell: CellRecord) -> str:
    about = "" if cell.latency_of in (None, "engine") else " (CPU)"
    return micros_words(cell.latency_us) + about


def _number(value: Reading, shown: str) -> Markup:
    return el("td", shown, class_="num", data_v="" if value is None else value)


def _gpu(cell: CellRecord) -> Markup:
    proof, needed = cell.on_gpu, cell.compute_capabilities
    if proof.outcome != "not run":
        below = shortened(proof.gpu or "", 60)
    elif cell.engine is None:
        return status("not run")
    else:
        first, last = needed[:3], f" and {len(needed) - 3} more" if len(needed) > 3 else ""
        below = f"needs {' '.join(first)}{last}" if needed else shortened(proof.why, 60)
    return joined([status(proof.outcome), el("br"), el("span", below, class_="soft")])


def _precision(cell: CellRecord) -> Markup:
    mix = el("span", clipped(mix_words(cell.layers), 60), class_="soft")
    return joined([clipped(cell.precision or NONE, 24), el("br") if cell.layers else None, mix])


def _tags(cell: CellRecord) -> Iterator[str]:
    if cell.state == "failed":
        yield "failed"
    if cell.engine is None:
        yield "missing"
    else:
        yield "unproven" if cell.on_gpu.outcome == "not run" else "proven"
    if cell.changes:
        yield "changed"
    if cell.state == "built":
        yield "built"


def _each(cells: Sequence[CellRecord], details: CellDetails) -> Iterator[Markup]:
    for index, cell in enumerate(cells):
        if cell.cell in details.parts:
            summary = el("summary", el("h3", cell.cell), " ", status(cell.state))
            yield el("details", summary, details.parts[cell.cell], id=f"cell-{index}")
    left = sum(cell.cell not in details.parts for cell in cells)
    if left:
        yield el(
            "p",
            f"The details of {plural(left, 'more cell')} are in the cells' own reports, beside their engines.",
        )


def _details(cell: CellRecord, places: Sequence[Place]) -> Markup:
    parts: list[Content] = [problem_list(cell.problems)]
    if cell.engine is not None:
        parts += [
            _cell_facts(cell, cell.engine),
            verdict_table(cell.validation.verdicts, f"Verdicts of {cell.cell}", _MOST_VERDICTS),
            error_figures(places, _MOST_FIGURES),
        ]
    parts.append(not_run_list(cell))
    if cell.changes:
        parts += [el("h4", "Changed since the lockfile"), change_table(cell)]
    return el("div", *parts, class_="cell-body")


def _cell_facts(cell: CellRecord, engine: Engine) -> Markup:
    home = cell.directory
    links = joined(
        [
            el("a", "report", href=f"{home}/report.html", aria_label=f"report of {cell.cell}"),
            el("a", "manifest.json", href=f"{home}/manifest.json", aria_label=f"manifest of {cell.cell}"),
            el("a", "build.log", href=f"{home}/build.log", aria_label=f"build log of {cell.cell}"),
        ],
        ", ",
    )
    return facts(
        [
            ("Files", links),
            ("Built for", f"{', '.join(cell.compute_capabilities)}, by {cell.toolchain}"),
            ("Layers", mix_words(cell.layers) or NONE),
            ("Accuracy", accuracy_words(cell.validation)),
            ("Engine", code(engine.blake3[:12])),
            ("All steps", seconds_words(sum(cell.seconds.values()))),
        ]
    )


def _environment(report: BuildReport) -> Markup:
    return facts([(name, value) for name, value in report.environment.items()])
