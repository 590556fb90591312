"""What `inspect` found out, as lines for people. Reads plain JSON values; what is missing or odd is left out.

The path is not shown, so that two versions of a file differ where they differ (`git diff` with textconv).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trtpipe.rendering.engines import engine_lines
from trtpipe.rendering.tables import one_line, render_table
from trtpipe.shapes import format_size

Lines = Iterator[str]


def description_lines(record: Mapping[str, Any]) -> Lines:
    """The lines for a description of any kind."""
    kinds: Mapping[str, Callable[[Mapping[str, Any]], Lines]] = {
        "engine": engine_lines,
        "model": _model,
        "pipeline": _pipeline,
        "unconverted model": _unconverted,
        "weights": _weights,
        "lockfile": _lockfile,
        "scales": _scales,
        "calibration cache": _cache,
    }
    return kinds[record["kind"]](record)


_TITLES = {"onnx": "ONNX model", "caffe": "Caffe net", "uff": "UFF model"}


def _model(record: Mapping[str, Any]) -> Lines:
    opsets = ", ".join(f"{name or 'ai.onnx'} {version}" for name, version in record["summary"]["opsets"])
    opset = f", opset {opsets}" if record["format"] == "onnx" else ""
    title = _TITLES.get(record["format"], f"{record['format']} model")
    yield f"{title}, {format_size(record['nbytes'])}{opset}"
    if record["format"] == "onnx" and record["summary"]["producer"]:
        yield f"made by {one_line(record['summary']['producer'])}"
    for one in record["external"]:
        yield f"external data: {one_line(one['name'])}, {format_size(one['nbytes'])}"
    yield from _graph(record)


def _pipeline(record: Mapping[str, Any]) -> Lines:
    yield f"pipeline {record['pipeline']}, parser {record['parser']}"
    if record["layers"]:
        yield render_table(
            ("layer", "kind", "output", "dtype", "shape", "parameters"), list(_layers(record["layers"]))
        )
    yield from _graph(record)


def _layers(layers: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    for layer in layers:
        for index, one in enumerate(layer["outputs"]):
            first = index == 0
            yield (
                layer["name"] if first else "",
                layer["layer"] if first else "",
                one["name"],
                one["dtype"],
                dims_text(one["dims"]),
                str(layer["parameters"]) if first else "",
            )


def _graph(record: Mapping[str, Any]) -> Lines:
    summary = record["summary"]
    yield _tensor_table(summary)
    yield from _dynamic(record)
    if record.get("nodes"):
        yield _node_table(record["nodes"])
    yield "operators: " + ", ".join(f"{one_line(name)} {count}" for name, count in summary["operators"])
    if record["custom_operators"]:
        yield f"custom operators: {', '.join(map(one_line, record['custom_operators']))}"
    if summary["functions"]:
        yield f"functions: {', '.join(map(one_line, summary['functions']))}"
    if record["nested_graphs"]:
        yield f"nested graphs: {record['nested_graphs']}"
    if record["quantized"]:
        yield f"quantize and dequantize nodes: {record['quantized']}"
    for weights in summary["weights"]:
        yield f"weights {weights['dtype']}: {weights['elements']} values, {format_size(weights['nbytes'])}"
    if record["float_types"]:
        yield "values in: " + ", ".join(f"{dtype} {count}" for dtype, count in record["float_types"])
    yield from _costs(record)
    yield from _support(record["support"])
    if "weights" in record:
        yield _weight_table(record["weights"])
        for name in record["nonfinite_weights"]:
            yield f"not finite: weight {one_line(name)} holds NaN or infinity"
    yield from map(one_line, record["problems"])


def _dynamic(record: Mapping[str, Any]) -> Lines:
    if record["dynamic_dims"]:
        rows = [(one["name"], ", ".join(one["places"]), one["origin"]) for one in record["dynamic_dims"]]
        yield render_table(("dynamic size", "where", "from"), rows)
    if record["shape_tensors"]:
        yield f"shape tensors: {', '.join(map(one_line, record['shape_tensors']))}"


def _tensor_table(summary: Mapping[str, Any]) -> str:
    rows = [
        (mode, one["name"], one["dtype"], dims_text(one["dims"]))
        for mode, key in (("input", "inputs"), ("output", "outputs"))
        for one in summary[key]
    ]
    return render_table(("mode", "tensor", "dtype", "shape"), rows)


def _node_table(nodes: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for one in nodes:
        name, dtype, dims = one["outputs"][0] if one["outputs"] else ("", None, None)
        flops = "?" if one["flops"] is None else flops_text(one["flops"])
        size = "?" if one["output_bytes"] is None else format_size(one["output_bytes"])
        op = f"{one['domain']}::{one['op']}" if one["domain"] else one["op"]
        rows.append(
            (one["name"] or name, op, dtype or "?", dims_text(dims), str(one["parameters"]), flops, size)
        )
    return render_table(("node", "operator", "dtype", "shape", "parameters", "FLOPs", "output"), rows)


def _costs(record: Mapping[str, Any]) -> Lines:
    costs = record["costs"]
    at = ", ".join(f"{one_line(name)} {dims_text(shape)}" for name, shape in record["at"].items())
    if not at and record["summary"]["inputs"]:
        return
    missing = f", {costs['uncounted']} nodes not counted" if costs["uncounted"] else ""
    yield f"at {at or 'no input'}: {flops_text(costs['flops'])} FLOPs{missing}"
    memory = []
    if record["io_bytes"] is not None:
        memory.append(f"inputs and outputs {format_size(record['io_bytes'])}")
    if costs["activation_bytes"] is not None:
        where = f", at {one_line(costs['peak_at'])!r}" if costs["peak_at"] else ""
        memory.append(f"activations at most {format_size(costs['activation_bytes'])}{where}")
    total = sum(one["nbytes"] for one in record["summary"]["weights"])
    yield "memory: " + ", ".join([f"weights {format_size(total)}", *memory])


def _support(support: Sequence[Mapping[str, Any]]) -> Lines:
    """A row for each answer, with the GPUs that it is the answer for; refusals are told once below, by number."""
    facts: dict[str, int] = {}
    rows: dict[tuple[str, str, str], list[str]] = {}
    for one in support:
        numbers = [facts.setdefault(fact, len(facts) + 1) for fact in one["refused"]]
        says = (
            "nothing against it"
            if not numbers
            else "refuses it: " + " ".join(f"({number})" for number in numbers)
        )
        says += "".join(f", {note}" for note in one["notes"])
        rows.setdefault((one["flavour"], one["versions"], says), []).append(one["capability"])
    if rows:
        ordered = sorted(rows.items(), key=lambda row: row[0][0] != "tensorrt_rtx")
        table = [(flavour, versions, " ".join(gpus), says) for (flavour, versions, says), gpus in ordered]
        yield render_table(("toolchain", "version", "for", "as it stands"), table)
    yield from (f"({number}) {one_line(fact)}" for fact, number in facts.items())


def _weight_table(tensors: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for one in tensors:
        row = [one["name"], one["dtype"], dims_text(one["dims"], "flat"), str(one["elements"])]
        found = one["statistics"]
        if found is not None:
            row += [_number(found[key]) for key in ("least", "most", "mean", "deviation")]
            row += [str(found["zeros"]), str(found["nonfinite"])]
        rows.append(row)
    header = ["weight", "dtype", "shape", "values"]
    if tensors and tensors[0]["statistics"] is not None:
        header += ["min", "max", "mean", "deviation", "zeros", "not finite"]
    return render_table(header, rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _weights(record: Mapping[str, Any]) -> Lines:
    tensors = record["tensors"]
    total = sum(one["elements"] for one in tensors)
    yield f"weights ({record['format']}), {format_size(record['nbytes'])}: {len(tensors)} tensors, {total} values"
    yield _weight_table(tensors)


def _unconverted(record: Mapping[str, Any]) -> Lines:
    yield f"{record['format']} {record['what']}: {sum(record['operators'].values())} nodes"
    rows = [
        ("input", one["name"], one["dtype"] or "?", dims_text(one["dims"])) for one in record["inputs"]
    ] + [("output", name, "", "") for name in record["outputs"]]
    if rows:
        yield render_table(("mode", "tensor", "dtype", "shape"), rows)
    for name, fact in record["facts"].items():
        yield from _fact(name, fact)
    yield "operators: " + ", ".join(f"{one_line(name)} {n}" for name, n in record["operators"].items())
    yield from map(one_line, record["notes"])
    yield "read without converting it: shapes, costs and targets need a spec, and the parser's extra"


def _fact(name: str, fact: Any) -> Lines:
    if name == "signatures":
        for called, one in fact.items():
            sides = (", ".join(map(one_line, one[side])) for side in ("inputs", "outputs"))
            yield f"signature {one_line(called)}: {' -> '.join(sides)}"
    elif name == "weights":
        yield f"weights: {fact['tensors']} tensors, {format_size(fact['nbytes'])}"
    elif isinstance(fact, Mapping):
        yield from (f"size {one_line(symbol)}: {one_line(str(span))}" for symbol, span in fact.items())
    elif isinstance(fact, list):
        shown = (one_line(", ".join(one) if isinstance(one, list) else str(one)) for one in fact)
        yield f"{name}: {'; '.join(shown)}"
    else:
        yield f"{name}: {one_line(str(fact))}"


def _lockfile(record: Mapping[str, Any]) -> Lines:
    cells = record["cells"]
    yield f"lockfile, {len(cells)} cells"
    fields = ("toolchain", "compute_capabilities", "precision", "validated", "run_on_gpu", "engine")
    shown = [field for field in fields if any(entry.get(field) for entry in cells.values())]
    rows = [(name, *(_short(str(entry.get(field, ""))) for field in shown)) for name, entry in cells.items()]
    if rows:
        yield render_table(("cell", *(field.replace("_", " ") for field in shown)), rows)


def _short(text: str) -> str:
    """A digest by its first twelve digits; all else as it is."""
    word, _, rest = text.partition(" ")
    return f"{word[:12]} {rest}".rstrip() if len(word) == 64 else text


def _scales(record: Mapping[str, Any]) -> Lines:
    samples = "" if record["samples"] is None else f", {record['samples']} samples"
    yield f"scales by {one_line(str(record['method']))} ({one_line(str(record['backend']))}){samples}"
    if record["source"]:
        yield f"from {one_line(str(record['source']))}"
    rows = [
        (
            name,
            _number(one["amax"]),
            _number(one.get("largest")),
            _share(one.get("clipped")),
            _share(one.get("zeros")),
        )
        for name, one in record["tensors"].items()
    ]
    if rows:
        yield render_table(("tensor", "amax", "largest", "clipped", "zeros"), rows)
    ranges = record.get("ranges", {})
    if ranges:
        yield render_table(("tensor", "range"), [(name, _number(value)) for name, value in ranges.items()])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _cache(record: Mapping[str, Any]) -> Lines:
    method = f", {one_line(record['method'])}" if record["method"] else ""
    yield f"calibration cache: {one_line(record['origin'])}{method}, {len(record['tensors'])} tensors"
    rows = [(one["name"], _number(one["amax"]), _number(one["scale"])) for one in record["tensors"]]
    if rows:
        yield render_table(("tensor", "amax", "int8 scale"), rows)
    odd = [one["name"] for one in record["tensors"] if not one["plausible"]]
    if odd:
        yield f"implausible scales: {', '.join(map(one_line, odd))}"
    yield from (f"unusable: {one_line(name)}: {one_line(why)}" for name, why in record["unusable"].items())
    yield from map(one_line, record["notes"])


def dims_text(dims: Any, unknown: str = "unknown rank") -> str:
    """`1x3xhx?`; `scalar` for rank 0."""
    if dims is None:
        return unknown
    return one_line("x".join("?" if dim in (None, -1) else str(dim) for dim in dims)) or "scalar"


def flops_text(flops: int) -> str:
    """`1.82 G`: operations for a reader."""
    amount = float(flops)
    for unit in ("", " k", " M", " G", " T"):
        if amount < 1000:
            return f"{amount:.0f}{unit}" if not unit else f"{amount:.3g}{unit}"
        amount /= 1000
    return f"{amount:.3g} P"
