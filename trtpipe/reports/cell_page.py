"""The HTML page of one cell, beside its engine: all its measurements, and what it was built from.

Histograms, scatter plots of outputs, a search's points and latencies are inline SVG (`plots.py`, `bars.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from trtpipe.reports.cell_parts import (
    accuracy_words,
    change_table,
    error_figures,
    more,
    not_run_list,
    problem_list,
    verdict_table,
)
from trtpipe.reports.html import Content, Markup, code, el, facts, joined, status, table
from trtpipe.reports.measured_parts import bench_part, scales_part, search_part
from trtpipe.reports.models import CellRecord, CellReport, OnGpu
from trtpipe.reports.page import page
from trtpipe.reports.part_models import Place
from trtpipe.reports.plots import scatter_plot
from trtpipe.reports.reach_part import proof_part
from trtpipe.reports.words import (
    NONE,
    fact_words,
    metric_words,
    mix_words,
    number_words,
    plain_words,
    plural,
    seconds_words,
    shape_words,
    shortened,
    size_words,
)

_MOST_FIGURES = 24
_MOST_SCATTERS = 2
_MOST_ROWS = 200


def cell_page(report: CellReport) -> str:
    """The page as HTML text."""
    cell = report.cell
    sections = [
        ("summary", "Summary", joined(_summary(report))),
        ("proof", "How far it is proved", joined(proof_part(cell.reach, report.network))),
        ("accuracy", "Accuracy", joined(_accuracy(report))),
        ("gpu", "On a GPU", joined(_on_gpu(report))),
        (
            "latency",
            "Latency",
            bench_part(report.bench) if report.bench else _absent(report, "bench.json"),
        ),
        ("precision", "Precision", joined(_precision(report))),
        ("calibration", "Calibration", _calibration(report)),
        ("shapes", "Shapes", joined(_shapes(report))),
        ("changes", "Changed since the lockfile", change_table(cell)),
        ("provenance", "Provenance", joined(_provenance(report))),
    ]
    return page(cell.cell, _lead(cell), sections)


def _lead(cell: CellRecord) -> Markup:
    validated = status(cell.validation.outcome)
    state, on_gpu = status(cell.state), _gpu_words(cell.on_gpu)
    return el("p", state, ", typed model ", validated, " on the CPU, engine ", on_gpu, ".")


def _gpu_words(proof: OnGpu) -> Markup:
    if proof.outcome == "not run":
        return joined([status("not run"), f" on a GPU: {shortened(proof.why, 200)}"])
    return joined([status(proof.outcome), f" on {shortened(proof.gpu or 'a GPU')}"])


def _absent(report: CellReport, file: str) -> Markup:
    commands = {"bench.json": "trtpipe bench", "proof.json": "trtpipe validate"}
    how = f"; {commands[file]} writes {file}, then trtpipe report" if file in commands else ""
    return el("p", f"Not recorded: {file} is {report.absent.get(file, 'not there')}{how}.", class_="soft")


def _summary(report: CellReport) -> Iterator[Content]:
    cell = report.cell
    engine = cell.engine
    assert engine is not None, "a cell without an engine has no page"
    yield problem_list(cell.problems)
    yield facts(
        [
            ("Engine", joined([code(engine.blake3[:12]), f", {size_words(engine.bytes)}"])),
            ("Built for", f"{', '.join(cell.compute_capabilities)} ({', '.join(cell.gpu)})"),
            ("Toolchain", cell.toolchain),
            ("Precision", cell.precision or NONE),
            ("Layers", mix_words(cell.layers) or NONE),
            ("Accuracy", accuracy_words(cell.validation)),
        ]
    )
    yield not_run_list(cell)
    links = [el("a", name, href=name) for name in report.files]
    yield el("p", "Beside this page: ", joined(links, ", "), ".")


def _accuracy(report: CellReport) -> Iterator[Content]:
    cell, measured = report.cell, report.measured
    for dtype, twin in cell.validation.twins.items():
        yield el("p", f"Run on the CPU: {twin}, for ONNX Runtime has no kernels for {dtype} there.")
    for one in cell.validation.nonfinite:
        yield el("div", el("p", shortened(one, 400)), class_="notice bad")
    yield verdict_table(cell.validation.verdicts, "Verdicts on the CPU", _MOST_ROWS) or el(
        "p", "No thresholds were judged.", class_="soft"
    )
    if measured is None:
        yield _absent(report, "validation.json")
        return
    yield el("p", f"Reference: {measured.reference} {measured.onnxruntime}.", class_="soft")
    yield from _errors(measured.places)


def _errors(places: Sequence[Place]) -> Iterator[Content]:
    yield _metrics(places)
    figures = error_figures(places, _MOST_FIGURES)
    yield el("h3", "Errors")
    yield figures or el("p", "Error histograms: not recorded.", class_="soft")
    yield el("h3", "Reference against output")
    yield _scatters(places)


def _metrics(places: Sequence[Place]) -> Markup:
    rows: list[list[Content]] = [
        [
            shortened(place.place),
            code(shortened(one.output)),
            str(one.elements if one.elements is not None else NONE),
            metric_words(one.metrics.get("cosine")),
            *(number_words(one.metrics.get(metric), 4) for metric in ("max_abs", "mean_abs", "snr")),
        ]
        for place in places
        for one in place.outputs
    ]
    header = ("on", "output", "elements", "cosine", "largest error", "mean error", "signal/noise, dB")
    shown = table(header, rows[:_MOST_ROWS], caption="Measured, place by place", numeric=(2, 3, 4, 5, 6))
    return joined([el("h3", "Measured"), shown, more(len(rows) - _MOST_ROWS, "row")])


def _scatters(places: Sequence[Place]) -> Markup:
    found = [
        (place.place, one.output, one.scatter) for place in places for one in place.outputs if one.scatter
    ]
    if not found:
        return el("p", "Pairs of reference and output: not recorded.", class_="soft")
    figures = []
    for place, output, pairs in found[:_MOST_SCATTERS]:
        label = f"{plural(len(pairs), 'pair')} of reference and output; equal values are on the diagonal"
        caption = el("figcaption", code(shortened(output, 60)), f" on {shortened(place, 60)}: {label}")
        figures.append(el("figure", scatter_plot(pairs, label), caption))
    return joined([el("div", *figures, class_="plots"), more(len(found) - _MOST_SCATTERS, "scatter")])


def _on_gpu(report: CellReport) -> Iterator[Content]:
    proof, cell = report.proof, report.cell
    if proof is None:
        yield el("p", status("not run"), f": {shortened(cell.on_gpu.why, 400)}.")
        yield el("p", "Nothing on this page was measured with the engine on a GPU, unless it says so.")
        yield _absent(report, "proof.json")
        return
    yield el(
        "p",
        status(proof.outcome),
        f" on {shortened(proof.gpu or 'a GPU')}, TensorRT {proof.tensorrt or NONE}.",
    )
    yield verdict_table(proof.verdicts, "Verdicts on a GPU", _MOST_ROWS)
    yield from _errors(proof.places)


def _precision(report: CellReport) -> Iterator[Content]:
    typed = report.typed
    planned = typed.get("planned")
    if isinstance(planned, Mapping):
        rows: list[list[Content]] = [
            [code(shortened(str(name))), str(count)] for name, count in planned.items()
        ]
        yield table(("nodes computed in", "count"), rows, caption="Nodes by type", numeric=(1,))
    wide = typed.get("wide")
    kept = wide.get("overflow") if isinstance(wide, Mapping) else None
    if isinstance(kept, Mapping) and kept:
        yield el("p", f"{plural(len(kept), 'node')} kept in float32, for they leave half precision's range.")
    if report.search is None:
        yield el("p", "No search was made for this variant's types.", class_="soft")
        return
    yield search_part(report.search)


def _calibration(report: CellReport) -> Markup:
    if report.calibration is None and report.scales is None:
        return el("p", "This variant needs no calibration.", class_="soft")
    warnings = report.calibration.get("warnings") if isinstance(report.calibration, Mapping) else None
    shown = [el("p", shortened(str(one), 400)) for one in warnings[:20]] if isinstance(warnings, list) else []
    told = el("div", *shown, class_="notice") if shown else None
    if report.scales is None:
        return joined([told, _absent(report, "scales.json")])
    return joined([told, scales_part(report.scales)])


def _shapes(report: CellReport) -> Iterator[Content]:
    rows: list[list[Content]] = [
        [
            code(shortened(one.name)),
            shortened(one.mode),
            shortened(one.dtype),
            shape_words(one.shape),
        ]
        for one in report.io
    ]
    yield table(("tensor", "mode", "dtype", "shape"), rows[:_MOST_ROWS], caption="Inputs and outputs")
    for index, profile in enumerate(report.profiles):
        corners: list[list[Content]] = [
            [code(shortened(name)), *(shape_words(one) for one in (shape.min, shape.opt, shape.max))]
            for name, shape in profile.items()
        ]
        yield el("h3", f"Profile {index}")
        yield table(("input", "min", "opt", "max"), corners[:_MOST_ROWS], caption=f"Profile {index}")
    if not report.profiles:
        yield el("p", "No profiles: every shape is fixed.", class_="soft")


def _provenance(report: CellReport) -> Iterator[Content]:
    made = report.provenance
    pairs: list[tuple[str, Content]] = [
        ("trtpipe", report.trtpipe),
        ("Toolchain", report.cell.toolchain),
    ]
    pairs.append(("Interpreter", made.python or NONE))
    pairs += [
        ("Source", joined([shortened(name), " ", code(fact_words(one.replace("/", " ")))]))
        for name, one in made.source.items()
    ]
    pairs += [
        ("Typed model", joined([shortened(name), " ", code(one[:12])])) for name, one in made.model.items()
    ]
    pairs += [
        (str(name).replace("_", " "), shortened(plain_words(one), 300))
        for name, one in report.reproducibility.items()
    ]
    yield facts(pairs[:_MOST_ROWS])
    seconds = report.cell.seconds
    rows: list[list[Content]] = [
        [
            shortened(stage),
            code(shortened(step.address)),
            code(step.key[:12]),
            seconds_words(seconds.get(stage)),
        ]
        for stage, step in made.steps.items()
    ]
    yield el("h3", "Steps")
    yield table(("stage", "step", "key", "took"), rows, caption="Steps of this cell", numeric=(3,))
    phases = ", ".join(
        f"{shortened(name)} {seconds_words(one)}" for name, one in report.engine_phases.items()
    )
    yield el("p", f"While the engine was built: {phases}.", class_="soft") if phases else None
