"""A cell's row in the table of a build's page, and its details below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from trtpipe.reports.cell_parts import (
    accuracy_words,
    change_table,
    error_figures,
    not_run_list,
    problem_list,
    verdict_table,
)
from trtpipe.reports.cells import worst_verdict
from trtpipe.reports.html import Content, Markup, code, el, facts, joined, status
from trtpipe.reports.models import CellRecord, Engine
from trtpipe.reports.part_models import Place, Reading
from trtpipe.reports.reach import proved_words
from trtpipe.reports.words import (
    NONE,
    clipped,
    metric_words,
    micros_words,
    mix_words,
    number_words,
    seconds_words,
    shortened,
    size_words,
)

_MOST_FIGURES = 2
_MOST_VERDICTS = 4


def place_of(cell: str) -> str:
    """The id of a cell's details on the page."""
    return f"cell-{quote(cell, safe='', errors='replace')}"


def row_of(cell: CellRecord, *, inside: bool) -> Markup:
    """The row; it leads to the details on the page if they are `inside`, else to the cell's own page."""
    link = f"#{place_of(cell.cell)}" if inside else f"{cell.directory}/report.html" if cell.engine else None
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
        data_details=place_of(cell.cell) if inside else None,
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


def details_of(cell: CellRecord, places: Sequence[Place]) -> Markup:
    """Its facts, verdicts, errors and changes."""
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
