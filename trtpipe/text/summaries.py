"""Formats a cell's manifest as a short Markdown page, for readers of the build directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trtpipe.json_values import (
    JsonObject,
    integer_in,
    list_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.metrics.reach import PARTS, Link
from trtpipe.shapes import format_size
from trtpipe.text.tables import one_line

_SHOWN = 20  # the most nodes that are listed


def cell_summary(manifest: JsonObject) -> str:
    """The page: what the engine is, its inputs and outputs, its accuracy, and checks that were not run."""
    return "\n".join(_lines(manifest)).rstrip()


def _lines(manifest: JsonObject) -> Iterator[str]:
    engine, toolchain = object_in(manifest, "engine"), object_in(manifest, "toolchain")
    wide = _under(_under(manifest, "typed"), "wide")
    size, digest = format_size(integer_in(engine, "bytes")), text_in(engine, "blake3")[:12]
    serves = ", ".join(texts_in(manifest, "compute_capabilities"))
    yield f"# {manifest['cell']}"
    yield ""
    yield f"- engine: `{engine['file']}`, {size}, BLAKE3 `{digest}`"
    yield f"- built by {toolchain['flavour']} {toolchain['version']} for {serves}"
    imported = _under(manifest, "imported")
    for cost in texts_in(imported, "costs") if "costs" in imported else ():
        yield f"- import: {one_line(cost)}"
    yield f"- precision: {manifest['precision']}{_share(object_in(manifest, 'audit'))}"
    yield from _wide(wide)
    yield from _unconverted(wide)
    yield from _calibration(_under(manifest, "calibration"))
    search = _under(manifest, "search")
    yield from _search(search)
    reproducibility = object_in(manifest, "reproducibility")
    yield f"- address randomisation while building: {reproducibility['address_randomisation']}"
    yield f"- addresses while building: {reproducibility.get('addresses', 'unknown')}"
    yield ""
    tensors = objects_in(manifest, "io")
    yield from _table(("tensor", "mode", "dtype", "shape"), (_io_row(one) for one in tensors))
    yield from _front(search)
    yield from _validation(object_in(manifest, "validation"))
    yield from _reach(manifest)
    for text in texts_in(manifest, "other_runtimes") if "other_runtimes" in manifest else ():
        yield f"- elsewhere: {one_line(text)}"
    for reason in texts_in(manifest, "not_run"):
        yield f"- not run: {one_line(reason)}"


def _under(record: JsonObject, name: str) -> JsonObject:
    """An object in a manifest; an empty one if it is missing."""
    return object_in(record, name) if record.get(name) else {}


def _figure(record: JsonObject, name: str) -> float:
    """A number, which may be infinite, as a tensor's largest magnitude may be."""
    found = record[name]
    assert isinstance(found, (int, float)), f"{name} is not a number"
    return found


def _calibration(calibration: JsonObject) -> Iterator[str]:
    if calibration.get("from"):
        yield f"- scales: taken from {calibration['from']}"
    if calibration.get("tensors"):
        yield f"- scales: {_scales(calibration)}"
        yield from _coverage(calibration)
    if calibration.get("ranges"):
        yield f"- ranges: {calibration['ranges']} tensors, {calibration['samples']} samples"
    if "warnings" in calibration:
        for warning in texts_in(calibration, "warnings"):
            yield f"- calibration: {one_line(warning)}"


def _search(search: JsonObject) -> Iterator[str]:
    if not search:
        return
    keep = object_in(object_in(search, "choice"), "keep")
    kept = ", ".join(f"{len(texts_in(keep, name))} kept in {name}" for name in keep) or "nothing kept wider"
    yield f"- found by {search['from']} within its budget, {search['budget']}: {search['reached']}, {kept}"
    if search.get("bounded"):
        yield f"- the search stopped at {search['bounded']} after {search['evaluations']} evaluations"


def _front(search: JsonObject) -> Iterator[str]:
    """The Pareto front of the measured points in cost and error; cost is a share of the fp32 model's, see the docs."""
    if not search.get("front"):
        return
    yield f"Cost against error, of {_models(integer_in(search, 'evaluations'))} measured:"
    yield ""
    header = ("precision", "kept wider", "cost", "weights", "error", "metric", "within the limits")
    yield from _table(header, (_front_row(one) for one in objects_in(search, "front")))
    plot = search.get("plot")
    if isinstance(plot, str) and plot:
        yield f"![cost against error]({plot})" if plot.endswith(".svg") else f"plot: {plot}"
        yield ""


def _models(count: int) -> str:
    return "the one typed model that was" if count == 1 else f"{count} typed models that were"


def _front_row(point: JsonObject) -> tuple[str, ...]:
    kept = ", ".join(f"{count} {name}" for name, count in object_in(point, "kept").items()) or "-"
    noise = "not finite" if point["noise"] is None else f"{_figure(point, 'noise'):.3g}"
    value = "-" if point["value"] is None else f"{_figure(point, 'value'):.7g}"
    cost, size = f"{100 * _figure(point, 'cost'):.1f} %", format_size(integer_in(point, "weight_bytes"))
    return text_in(point, "precision"), kept, cost, size, noise, value, "yes" if point["inside"] else "no"


def _wide(wide: JsonObject) -> Iterator[str]:
    """Nodes that compute in float32 although the variant asks for less."""
    overflow, by_default = _under(wide, "overflow"), _under(wide, "by_default")
    if by_default:
        counts = ", ".join(f"{count} for {kind}" for kind, count in by_default.items())
        yield f"- nodes in float32 by default: {counts}"
    for name in list(overflow)[:_SHOWN]:
        one = object_in(overflow, name)
        tensor, reaches = _code(text_in(one, "tensor")), _figure(one, "reaches")
        what = f"what makes {tensor} adds up to" if one["inside"] else f"{tensor} reaches"
        yield f"- kept in float32: {_code(name)}, for {what} {reaches:.6g}, too near half precision's end"
    if len(overflow) > _SHOWN:
        yield f"- kept in float32 for the same reason: {len(overflow) - _SHOWN} more nodes, which the manifest names"


def _unconverted(wide: JsonObject) -> Iterator[str]:
    if wide.get("unmeasured"):
        yield f"- not measured: {wide['unmeasured']} nodes in branches and bodies may overflow half precision"
    reaching = _under(wide, "overflow_io")
    for name in reaching:
        reaches = _figure(reaching, name)
        yield f"- type kept: {_code(name)} reaches {reaches:.6g}, too near half precision's end"


def _coverage(calibration: JsonObject) -> Iterator[str]:
    """How well the scales fit the tensors, and which method is recommended, as lines."""
    counts = _under(calibration, "counts")
    if counts:
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        yield f"- coverage: {said}; method recommended: {calibration.get('recommended') or 'not known'}"
    cosines = _under(calibration, "cosines")
    if cosines:
        said = ", ".join(f"{label} {_figure(cosines, label):.6g}" for label in cosines)
        samples = calibration.get("compared_on")
        yield f"- cosine of the outputs with int8 activations on {samples} samples, by method: {said}"
    decibels = _under(calibration, "decibels")
    if decibels:
        said = ", ".join(f"{method} {_figure(decibels, method):.1f} dB" for method in decibels)
        yield f"- signal over noise in int8, by method: {said}"


def _scales(calibration: JsonObject) -> str:
    if calibration.get("cache") is None:
        return (
            f"{calibration['method']} of {calibration['samples']} samples, {calibration['tensors']} tensors"
        )
    cache = object_in(calibration, "cache")
    covered = integer_in(cache, "wanted") - integer_in(object_in(cache, "counts"), "missing")
    return (
        f"from a calibration cache ({one_line(text_in(cache, 'origin'))}): {covered} of {cache['wanted']} tensors; "
        f"{cache['matched']} of its {cache['entries']} entries match"
    )


def _share(audit: JsonObject) -> str:
    layers = _under(audit, "layers")
    if not layers:
        return ""
    return " (" + ", ".join(f"{layers[dtype]} layers {dtype}" for dtype in sorted(layers)) + ")"


def _code(name: str) -> str:
    """A tensor's name as code; `_table` escapes what would end a cell."""
    return "`" + one_line(name).replace("`", "'") + "`"


def _io_row(tensor: JsonObject) -> tuple[str, ...]:
    sizes = [str(dim) for dim in list_in(tensor, "shape")]
    shape = "x".join("?" if size.startswith("-") else size for size in sizes) or "scalar"
    return _code(text_in(tensor, "name")), text_in(tensor, "mode"), text_in(tensor, "dtype"), shape


def _validation(validation: JsonObject) -> Iterator[str]:
    yield f"Validation: {str(validation.get('outcome', 'not run')).replace('_', ' ')}"
    for dtype, twin in _under(validation, "twins").items():
        yield f"- run on the CPU: {twin}, for ONNX Runtime has no kernels for {dtype} there"
    if validation.get("accuracy") is not None:
        known = "reference_accuracy" in validation
        reference = _figure(validation, "reference_accuracy") if known else float("nan")
        yield f"- accuracy {_figure(validation, 'accuracy'):.4g} (reference {reference:.4g})"
    yield ""
    verdicts = objects_in(validation, "verdicts") if "verdicts" in validation else []
    rows = [
        (
            text_in(one, "place"),
            _code(text_in(one, "output")),
            text_in(one, "metric"),
            _number(one["value"]),
            _bound(one),
            text_in(one, "outcome"),
        )
        for one in verdicts
    ]
    if rows:
        yield from _table(("on", "output", "metric", "value", "must be", "outcome"), rows)


def _reach(manifest: JsonObject) -> Iterator[str]:
    """How far the cell is proved, link by link, and how much of TensorRT's network was read."""
    network = object_in(manifest, "network")
    rows = []
    for one in objects_in(manifest, "reach"):
        link = Link.from_json(one)
        rows.append((PARTS[link.part], link.outcome, one_line(link.why) or "-"))
    yield from _table(("proof", "outcome", "why"), rows)
    yield f"- TensorRT's network: {network['layers_read']} of {network['layers']} layers were read"
    for one in objects_in(network, "warnings"):
        times = f" ({one['count']} times)" if one["count"] != 1 else ""
        yield f"- TensorRT's parser warns, {one['kind']}: {one_line(text_in(one, 'message'))}{times}"


def _bound(verdict: JsonObject) -> str:
    parts = [f">= {_figure(verdict, 'min'):g}"] if verdict.get("min") is not None else []
    parts += [f"<= {_figure(verdict, 'max'):g}"] if verdict.get("max") is not None else []
    return " and ".join(parts)


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def _table(header: tuple[str, ...], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
