"""Formats the results of `inspect` as lines for people, from plain JSON; missing or unexpected values are omitted.

The path is not shown, so that comparing two versions of a file shows only real differences (`git diff` with textconv).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from trtpipe.json_values import (
    Json,
    JsonObject,
    integer_in,
    list_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.shapes import format_size
from trtpipe.text.engines import engine_lines
from trtpipe.text.tables import one_line, render_table

Lines = Iterator[str]


def description_lines(record: JsonObject) -> Lines:
    """The lines for a description of any kind."""
    kinds: Mapping[str, Callable[[JsonObject], Lines]] = {
        "engine": engine_lines,
        "model": _model,
        "pipeline": _pipeline,
        "unconverted model": _unconverted,
        "weights": _weights,
        "lockfile": _lockfile,
        "scales": _scales,
        "calibration cache": _cache,
    }
    return kinds[text_in(record, "kind")](record)


_TITLES = {"onnx": "ONNX model", "caffe": "Caffe net", "uff": "UFF model"}


def _model(record: JsonObject) -> Lines:
    form, summary = text_in(record, "format"), object_in(record, "summary")
    opsets = ", ".join(f"{_line(name) or 'ai.onnx'} {version}" for name, version in _pairs(summary, "opsets"))
    opset = f", opset {opsets}" if form == "onnx" else ""
    yield f"{_TITLES.get(form, f'{form} model')}, {_size(record)}{opset}"
    if form == "onnx" and summary["producer"]:
        yield f"made by {one_line(text_in(summary, 'producer'))}"
    for one in objects_in(record, "external"):
        yield f"external data: {one_line(text_in(one, 'name'))}, {_size(one)}"
    yield from _graph(record)


def _pipeline(record: JsonObject) -> Lines:
    yield f"pipeline {record['pipeline']}, parser {record['parser']}"
    layers = objects_in(record, "layers")
    if layers:
        header = ("layer", "kind", "output", "dtype", "shape", "parameters")
        yield render_table(header, list(_layers(layers)))
    yield from _graph(record)


def _layers(layers: Sequence[JsonObject]) -> Iterator[Sequence[str]]:
    for layer in layers:
        for index, one in enumerate(objects_in(layer, "outputs")):
            first = index == 0
            yield (
                text_in(layer, "name") if first else "",
                text_in(layer, "layer") if first else "",
                text_in(one, "name"),
                text_in(one, "dtype"),
                dims_text(one["dims"]),
                str(layer["parameters"]) if first else "",
            )


def _graph(record: JsonObject) -> Lines:
    summary = object_in(record, "summary")
    yield _tensor_table(summary)
    yield from _dynamic(record)
    if record.get("nodes"):
        yield _node_table(objects_in(record, "nodes"))
    yield "operators: " + ", ".join(f"{_line(name)} {count}" for name, count in _pairs(summary, "operators"))
    yield from _named("custom operators", record, "custom_operators")
    yield from _named("functions", summary, "functions")
    if record["nested_graphs"]:
        yield f"nested graphs: {record['nested_graphs']}"
    if record["quantized"]:
        yield f"quantize and dequantize nodes: {record['quantized']}"
    for weights in objects_in(summary, "weights"):
        yield f"weights {weights['dtype']}: {weights['elements']} values, {_size(weights)}"
    if record["float_types"]:
        counts = _pairs(record, "float_types")
        yield "values in: " + ", ".join(f"{dtype} {count}" for dtype, count in counts)
    yield from _costs(record)
    yield from _support(objects_in(record, "support"))
    if "weights" in record:
        yield _weight_table(objects_in(record, "weights"))
        for name in texts_in(record, "nonfinite_weights"):
            yield f"not finite: weight {one_line(name)} holds NaN or infinity"
    yield from map(one_line, texts_in(record, "problems"))


def _named(title: str, record: JsonObject, field: str) -> Lines:
    """A list of names on a line, where there are any."""
    names = texts_in(record, field)
    if names:
        yield f"{title}: {', '.join(map(one_line, names))}"


def _dynamic(record: JsonObject) -> Lines:
    found = objects_in(record, "dynamic_dims")
    if found:
        rows = [
            (text_in(one, "name"), ", ".join(texts_in(one, "places")), text_in(one, "origin"))
            for one in found
        ]
        yield render_table(("dynamic size", "where", "from"), rows)
    yield from _named("shape tensors", record, "shape_tensors")


def _tensor_table(summary: JsonObject) -> str:
    rows = [
        (mode, text_in(one, "name"), text_in(one, "dtype"), dims_text(one["dims"]))
        for mode, key in (("input", "inputs"), ("output", "outputs"))
        for one in objects_in(summary, key)
    ]
    return render_table(("mode", "tensor", "dtype", "shape"), rows)


def _node_table(nodes: Sequence[JsonObject]) -> str:
    rows = []
    for one in nodes:
        name, dtype, dims = next(_lists(one, "outputs"), ("", None, None))
        flops = "?" if one["flops"] is None else flops_text(integer_in(one, "flops"))
        size = "?" if one["output_bytes"] is None else _size(one, "output_bytes")
        op = f"{one['domain']}::{one['op']}" if one["domain"] else text_in(one, "op")
        row = (one["name"] or name, op, dtype or "?", dims_text(dims), one["parameters"], flops, size)
        rows.append(tuple(map(str, row)))
    return render_table(("node", "operator", "dtype", "shape", "parameters", "FLOPs", "output"), rows)


def _costs(record: JsonObject) -> Lines:
    costs, summary = object_in(record, "costs"), object_in(record, "summary")
    shapes = object_in(record, "at").items()
    at = ", ".join(f"{one_line(name)} {dims_text(shape)}" for name, shape in shapes)
    if not at and summary["inputs"]:
        return
    missing = f", {costs['uncounted']} nodes not counted" if costs["uncounted"] else ""
    yield f"at {at or 'no input'}: {flops_text(integer_in(costs, 'flops'))} FLOPs{missing}"
    total = sum(integer_in(one, "nbytes") for one in objects_in(summary, "weights"))
    memory = [f"weights {format_size(total)}"]
    if record["io_bytes"] is not None:
        memory.append(f"inputs and outputs {_size(record, 'io_bytes')}")
    if costs["activation_bytes"] is not None:
        where = f", at {one_line(text_in(costs, 'peak_at'))!r}" if costs["peak_at"] else ""
        memory.append(f"activations at most {_size(costs, 'activation_bytes')}{where}")
    yield "memory: " + ", ".join(memory)


def _support(support: Sequence[JsonObject]) -> Lines:
    """A row for each answer, with the GPUs that it applies to; refusals are listed once below, by number."""
    facts: dict[str, int] = {}
    rows: dict[tuple[str, str, str], list[str]] = {}
    for one in support:
        numbers = [facts.setdefault(fact, len(facts) + 1) for fact in texts_in(one, "refused")]
        says = (
            "no known problem"
            if not numbers
            else "refuses it: " + " ".join(f"({number})" for number in numbers)
        )
        says += "".join(f", {note}" for note in texts_in(one, "notes"))
        answer = (text_in(one, "flavour"), text_in(one, "versions"), says)
        rows.setdefault(answer, []).append(text_in(one, "capability"))
    if rows:
        ordered = sorted(rows.items(), key=lambda row: row[0][0] != "tensorrt_rtx")
        table = [(flavour, versions, " ".join(gpus), says) for (flavour, versions, says), gpus in ordered]
        yield render_table(("toolchain", "version", "for", "result"), table)
    yield from (f"({number}) {one_line(fact)}" for fact, number in facts.items())


def _weight_table(tensors: Sequence[JsonObject]) -> str:
    rows = []
    for one in tensors:
        row = [
            text_in(one, "name"), text_in(one, "dtype"), dims_text(one["dims"], "flat"), str(one["elements"])
        ]  # fmt: skip
        if one["statistics"] is not None:
            found = object_in(one, "statistics")
            row += [_number(found[key]) for key in ("least", "most", "mean", "deviation")]
            row += [str(found["zeros"]), str(found["nonfinite"])]
        rows.append(row)
    header = ["weight", "dtype", "shape", "values"]
    if tensors and tensors[0]["statistics"] is not None:
        header += ["min", "max", "mean", "deviation", "zeros", "not finite"]
    return render_table(header, rows)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-"


def _weights(record: JsonObject) -> Lines:
    tensors = objects_in(record, "tensors")
    total = sum(integer_in(one, "elements") for one in tensors)
    yield f"weights ({record['format']}), {_size(record)}: {len(tensors)} tensors, {total} values"
    yield _weight_table(tensors)


def _unconverted(record: JsonObject) -> Lines:
    operators = object_in(record, "operators")
    yield f"{record['format']} {record['what']}: {sum(integer_in(operators, name) for name in operators)} nodes"
    rows = [
        ("input", text_in(one, "name"), _text(one["dtype"]) or "?", dims_text(one["dims"]))
        for one in objects_in(record, "inputs")
    ] + [("output", name, "", "") for name in texts_in(record, "outputs")]
    if rows:
        yield render_table(("mode", "tensor", "dtype", "shape"), rows)
    facts = object_in(record, "facts")
    for name in facts:
        yield from _fact(name, facts)
    yield "operators: " + ", ".join(f"{one_line(name)} {n}" for name, n in operators.items())
    yield from map(one_line, texts_in(record, "notes"))
    yield "read without converting it: shapes, costs and targets need a spec, and the parser's extra"


def _fact(name: str, facts: JsonObject) -> Lines:
    fact = facts[name]
    if name == "signatures":
        signatures = object_in(facts, name)
        for called in signatures:
            one = object_in(signatures, called)
            sides = (", ".join(map(one_line, texts_in(one, side))) for side in ("inputs", "outputs"))
            yield f"signature {one_line(called)}: {' -> '.join(sides)}"
    elif name == "weights":
        weights = object_in(facts, name)
        yield f"weights: {weights['tensors']} tensors, {_size(weights)}"
    elif isinstance(fact, Mapping):
        yield from (f"size {one_line(symbol)}: {_line(span)}" for symbol, span in fact.items())
    elif isinstance(fact, list):
        shown = (one_line(", ".join(map(str, one))) if isinstance(one, list) else _line(one) for one in fact)
        yield f"{name}: {'; '.join(shown)}"
    else:
        yield f"{name}: {_line(fact)}"


def _lockfile(record: JsonObject) -> Lines:
    named = object_in(record, "cells")
    cells = {name: object_in(named, name) for name in named}
    yield f"lockfile, {len(cells)} cells"
    fields = ("toolchain", "compute_capabilities", "precision", "validated", "run_on_gpu", "engine")
    shown = [field for field in fields if any(entry.get(field) for entry in cells.values())]
    rows = [(name, *(_short(str(entry.get(field, ""))) for field in shown)) for name, entry in cells.items()]
    if rows:
        yield render_table(("cell", *(field.replace("_", " ") for field in shown)), rows)


def _short(text: str) -> str:
    """A digest shortened to twelve digits; anything else unchanged."""
    word, _, rest = text.partition(" ")
    return f"{word[:12]} {rest}".rstrip() if len(word) == 64 else text


def _scales(record: JsonObject) -> Lines:
    samples = "" if record["samples"] is None else f", {record['samples']} samples"
    yield f"scales by {_line(record['method'])} ({_line(record['backend'])}){samples}"
    if record["source"]:
        yield f"from {_line(record['source'])}"
    tensors = object_in(record, "tensors")
    rows = [_scale(name, object_in(tensors, name)) for name in tensors]
    if rows:
        yield render_table(("tensor", "amax", "largest", "clipped", "zeros"), rows)
    ranges = object_in(record, "ranges") if "ranges" in record else {}
    if ranges:
        yield render_table(("tensor", "range"), [(name, _number(value)) for name, value in ranges.items()])


def _scale(name: str, one: JsonObject) -> tuple[str, ...]:
    shares = _share(one.get("clipped")), _share(one.get("zeros"))
    return name, _number(one["amax"]), _number(one.get("largest")), *shares


def _share(value: object) -> str:
    return f"{value:.2%}" if isinstance(value, (int, float)) else "-"


def _cache(record: JsonObject) -> Lines:
    tensors = objects_in(record, "tensors")
    method = f", {one_line(text_in(record, 'method'))}" if record["method"] else ""
    yield f"calibration cache: {one_line(text_in(record, 'origin'))}{method}, {len(tensors)} tensors"
    rows = [(text_in(one, "name"), _number(one["amax"]), _number(one["scale"])) for one in tensors]
    if rows:
        yield render_table(("tensor", "amax", "int8 scale"), rows)
    odd = [text_in(one, "name") for one in tensors if not one["plausible"]]
    if odd:
        yield f"implausible scales: {', '.join(map(one_line, odd))}"
    unusable = object_in(record, "unusable").items()
    yield from (f"unusable: {one_line(name)}: {_line(why)}" for name, why in unusable)
    yield from map(one_line, texts_in(record, "notes"))


def _line(value: object) -> str:
    """Any value as text on one line."""
    return one_line(str(value))


def _text(value: object) -> str:
    """A text that may be missing."""
    return value if isinstance(value, str) else ""


def _size(record: JsonObject, field: str = "nbytes") -> str:
    return format_size(integer_in(record, field))


def _lists(record: JsonObject, field: str) -> Iterator[Sequence[Json]]:
    """The lists in a list."""
    yield from (one for one in list_in(record, field) if isinstance(one, (list, tuple)))


def _pairs(record: JsonObject, field: str) -> Iterator[tuple[Json, Json]]:
    """A list of pairs."""
    yield from ((one[0], one[1]) for one in _lists(record, field))


def dims_text(dims: object, unknown: str = "unknown rank") -> str:
    """`1x3xhx?`; `scalar` for rank 0."""
    if not isinstance(dims, (list, tuple)):
        return unknown
    return one_line("x".join("?" if dim in (None, -1) else str(dim) for dim in dims)) or "scalar"


def flops_text(flops: int) -> str:
    """`1.82 G`: operations for a reader."""
    amount = float(flops)
    for unit in ("", " k", " M", " G", " T"):
        if amount < 999.5:  # what rounds to 1000 has the next unit: three digits of it would be 1e+03
            return f"{amount:.0f}{unit}" if not unit else f"{amount:.3g}{unit}"
        amount /= 1000
    return f"{amount:.3g} P"
