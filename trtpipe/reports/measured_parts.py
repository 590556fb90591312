"""Sections of a cell's page for measurements other than accuracy: a search, scales, latencies."""

from __future__ import annotations

from trtpipe.reports.bars import histogram_bars, spread_words
from trtpipe.reports.cell_parts import more
from trtpipe.reports.html import Content, Markup, code, el, facts, joined, status, table
from trtpipe.reports.part_models import Bench, Latency, Scales, Search
from trtpipe.reports.plots import pareto_plot, percentile_plot
from trtpipe.reports.words import (
    NONE,
    micros_words,
    number_words,
    plain_words,
    plural,
    shape_words,
    share_words,
    shortened,
    size_words,
)

_MOST_ROWS = 60
_PART_WORDS = {"copies_in": "copies in", "copies_out": "copies out", "host": "seen by the host"}


def search_part(search: Search) -> Markup:
    """The budget and what was reached, the points, and the layers by the cost of their precision."""
    kept = ", ".join(f"{len(globs)} kept in {name}" for name, globs in search.keep.items()) or "nothing"
    told = facts(
        [
            ("Found by", search.from_ or NONE),
            ("Budget", search.budget or NONE),
            ("Reached", search.reached or NONE),
            ("Choice", search.precision + (f", base {search.base}" if search.base else "")),
            ("Kept wider", kept),
            ("Measured", plural(search.evaluations or 0, "typed model")),
        ]
    )
    return joined([el("h3", "The search"), told, _points(search), _ranking(search)])


def _points(search: Search) -> Markup:
    label = f"Cost against error of {plural(len(search.points), 'typed model')}; the table lists the best"
    drawn = pareto_plot(search, label)
    if drawn is not None:
        plot = el("figure", drawn, el("figcaption", label))
    else:
        plot = el("p", "The points that were measured: not recorded here.", class_="soft")
    rows: list[list[Content]] = [
        [
            shortened(one.precision),
            ", ".join(f"{count} {shortened(name)}" for name, count in one.kept.items()) or NONE,
            share_words(one.cost),
            size_words(one.weight_bytes),
            "not finite" if one.noise is None else number_words(one.noise, 3),
            number_words(one.value, 7),
            status("within" if one.inside else "over"),
        ]
        for one in search.front[:_MOST_ROWS]
    ]
    header = ("precision", "kept wider", "cost", "weights", "error", "metric", "budget")
    best = table(header, rows, caption="Models that no other beats in cost and error", numeric=(2, 3, 4, 5))
    return joined([plot, best if rows else None])


def _ranking(search: Search) -> Markup | None:
    ranked = sorted(search.sensitivities, key=lambda one: -(one.noise or 0.0))
    if not ranked:
        return None
    rows: list[list[Content]] = [
        [
            code(shortened(one.unit)),
            shortened(one.op),
            shortened(one.precision),
            number_words(one.noise, 3),
            number_words(one.value, 7),
            share_words(one.saving),
        ]
        for one in ranked[:_MOST_ROWS]
    ]
    header = ("layer", "operator", "lowered to", "error", "metric", "saves")
    shown = table(header, rows, caption="Layers by what their precision costs", numeric=(3, 4, 5))
    return joined([el("h3", "Sensitivity"), shown, more(len(ranked) - _MOST_ROWS, "layer")])


def scales_part(scales: Scales) -> Markup:
    """The calibration method, and each tensor's range with the share of clipped values."""
    decibels = ", ".join(
        f"{shortened(name)} {number_words(value, 4)} dB" for name, value in scales.decibels.items()
    )
    told = facts(
        [
            ("Method", f"{scales.method}, by {scales.backend}"),
            ("Samples", str(scales.samples if scales.samples is not None else NONE)),
            ("Recommended", scales.recommended or NONE),
            ("Signal/noise", decibels or NONE),
        ]
    )
    rows: list[list[Content]] = [
        [
            code(shortened(one.tensor)),
            *(number_words(value, 4) for value in (one.amax, one.largest, one.typical)),
            share_words(one.clipped),
            share_words(one.zeros),
        ]
        for one in scales.tensors[:_MOST_ROWS]
    ]
    header = ("tensor", "range", "largest seen", "typical", "clipped", "zeros")
    shown = table(header, rows, caption="Ranges and clipped shares", numeric=(1, 2, 3, 4, 5))
    return joined([told, shown, more(scales.count - len(rows), "tensor")])


def bench_part(bench: Bench) -> Markup:
    """What was benchmarked where, percentiles part by part, distributions, throughput."""
    where = bench.gpu or bench.cpu or NONE
    on_cpu = bench.subject != "engine"
    told_apart = f"This is the {shortened(bench.subject)}: it says nothing of the engine's speed on a GPU."
    notice = el("div", el("p", told_apart), class_="notice") if on_cpu else None
    shapes = ", ".join(f"{shortened(name, 40)} {shape_words(shape)}" for name, shape in bench.shapes.items())
    stable = {True: "yes", False: "no: take the figures with care", None: NONE}[bench.stable]
    told = facts(
        [
            ("Benchmarked", bench.subject or NONE),
            ("On", where),
            ("TensorRT", bench.tensorrt or NONE),
            ("Shapes", shapes or NONE),
            ("Stable", stable),
            ("Clocks", shortened(plain_words(bench.clocks), 200) if bench.clocks else NONE),
        ]
    )
    parts: list[Content] = [notice, told, _percentiles(bench), _distributions(bench), _throughput(bench)]
    if bench.compared:
        parts.append(el("ul", *(el("li", shortened(one, 300)) for one in bench.compared[:_MOST_ROWS])))
    parts += [el("p", status("not run"), f": {shortened(one, 300)}") for one in bench.not_run[:20]]
    return joined(parts)


def _percentiles(bench: Bench) -> Markup:
    rows: list[list[Content]] = [
        [
            _PART_WORDS.get(one.part, shortened(one.part)),
            *map(micros_words, _ends(one)),
            str(one.count if one.count is not None else NONE),
        ]
        for one in bench.latency
    ]
    header = ("part", "min", "mean", "p50", "p90", "p95", "p99", "max", "runs")
    return table(header, rows, caption="Latencies", numeric=tuple(range(1, 9)))


def _ends(one: Latency) -> tuple[float | None, ...]:
    return one.min_us, one.mean_us, one.p50_us, one.p90_us, one.p95_us, one.p99_us, one.max_us


def _distributions(bench: Bench) -> Markup:
    figures = []
    label = "Median and 99th percentile of each part, with a line to the slowest; the table has the numbers"
    drawn = percentile_plot(bench.latency, label)
    if drawn is not None:
        figures.append(el("figure", drawn, el("figcaption", label)))
    for one in bench.latency:
        if one.histogram is not None:
            words = _PART_WORDS.get(one.part, shortened(one.part, 40))
            bars = histogram_bars(one.histogram, f"Latency of {words} in microseconds")
            figures.append(
                el("figure", bars, el("figcaption", f"{words}, µs: {spread_words(one.histogram)}"))
            )
    return el("div", *figures, class_="plots")


def _throughput(bench: Bench) -> Markup | None:
    rows: list[list[Content]] = [
        [str(one.streams if one.streams is not None else NONE), number_words(one.per_second, 5)]
        for one in bench.throughput
    ]
    if not rows:
        return None
    return joined(
        [
            el("h3", "Throughput"),
            table(("streams", "runs a second"), rows, caption="Throughput", numeric=(1,)),
        ]
    )
