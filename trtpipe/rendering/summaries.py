"""A cell's manifest as a short Markdown page, for people who look into the build directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtpipe.rendering.tables import one_line
from trtpipe.shapes import format_size

_SHOWN = 20  # nodes that overflow, of any number


def cell_summary(manifest: Mapping[str, Any]) -> str:
    """The page: what it is, what it takes and gives, how exact it is, what was not run."""
    return "\n".join(_lines(manifest)).rstrip()


def _lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    engine, toolchain = manifest["engine"], manifest["toolchain"]
    yield f"# {manifest['cell']}"
    yield ""
    yield f"- engine: `{engine['file']}`, {format_size(engine['bytes'])}, BLAKE3 `{engine['blake3'][:12]}`"
    yield f"- built by {toolchain['flavour']} {toolchain['version']} for {', '.join(manifest['compute_capabilities'])}"
    yield f"- precision: {manifest['precision']}{_share(manifest['audit'])}"
    yield from _wide(manifest.get("typed", {}).get("wide", {}))
    yield from _unconverted(manifest.get("typed", {}).get("wide", {}))
    calibration = manifest.get("calibration", {})
    if calibration.get("tensors"):
        yield f"- scales: {_scales(calibration)}"
        yield from _coverage(calibration)
    if calibration.get("ranges"):
        yield f"- ranges: {calibration['ranges']} tensors, {calibration['samples']} samples"
    for warning in calibration.get("warnings", ()):
        yield f"- calibration: {one_line(warning)}"
    yield from _search(manifest.get("search"))
    reproducibility = manifest["reproducibility"]
    yield f"- address randomisation while building: {reproducibility['address_randomisation']}"
    yield f"- addresses while building: {reproducibility.get('addresses', 'unknown')}"
    yield ""
    yield from _table(("tensor", "mode", "dtype", "shape"), (_io_row(one) for one in manifest["io"]))
    yield from _front(manifest.get("search") or {})
    yield from _validation(manifest["validation"])
    for reason in manifest["not_run"]:
        yield f"- not run: {one_line(reason)}"


def _search(search: Mapping[str, Any] | None) -> Iterator[str]:
    if search is None:
        return
    keep = search["choice"]["keep"]
    kept = ", ".join(f"{len(globs)} kept in {name}" for name, globs in keep.items()) or "nothing kept wider"
    yield f"- found by {search['from']} within its budget, {search['budget']}: {search['reached']}, {kept}"
    if search.get("bounded"):
        yield f"- the search stopped at {search['bounded']} after {search['evaluations']} evaluations"


def _front(search: Mapping[str, Any]) -> Iterator[str]:
    """What was measured that no other beats in both cost and error; cost is a model's share of fp32, see the docs."""
    if not search.get("front"):
        return
    yield f"Cost against error, of {_models(search['evaluations'])} measured:"
    yield ""
    header = ("precision", "kept wider", "cost", "weights", "error", "metric", "within the budget")
    yield from _table(header, (_front_row(one) for one in search["front"]))
    plot = search.get("plot", "")
    if plot:
        yield f"![cost against error]({plot})" if plot.endswith(".svg") else f"plot: {plot}"
        yield ""


def _models(count: int) -> str:
    return "the one typed model that was" if count == 1 else f"{count} typed models that were"


def _front_row(point: Mapping[str, Any]) -> tuple[str, ...]:
    kept = ", ".join(f"{count} {name}" for name, count in point["kept"].items()) or "-"
    noise = "not finite" if point["noise"] is None else f"{point['noise']:.3g}"
    value = "-" if point["value"] is None else f"{point['value']:.7g}"
    cost, size = f"{100 * point['cost']:.1f} %", format_size(point["weight_bytes"])
    return point["precision"], kept, cost, size, noise, value, "yes" if point["inside"] else "no"


def _wide(wide: Mapping[str, Any]) -> Iterator[str]:
    """What computes in float32 though the variant asks for less."""
    overflow, by_default = wide.get("overflow", {}), wide.get("by_default", {})
    if by_default:
        counts = ", ".join(f"{count} for {kind}" for kind, count in by_default.items())
        yield f"- nodes in float32 by default: {counts}"
    for name, one in list(overflow.items())[:_SHOWN]:
        what = (
            f"what makes {_code(one['tensor'])} adds up to"
            if one["inside"]
            else f"{_code(one['tensor'])} reaches"
        )
        yield f"- kept in float32: {_code(name)}, for {what} {one['reaches']:.6g}, too near half precision's end"
    if len(overflow) > _SHOWN:
        yield f"- kept in float32 for the same reason: {len(overflow) - _SHOWN} more nodes, which the manifest names"


def _unconverted(wide: Mapping[str, Any]) -> Iterator[str]:
    if wide.get("unmeasured"):
        yield f"- not measured: {wide['unmeasured']} nodes in branches and bodies may overflow half precision"
    for name, reaches in wide.get("overflow_io", {}).items():
        yield f"- type kept: {_code(name)} reaches {reaches:.6g}, too near half precision's end"


def _coverage(calibration: Mapping[str, Any]) -> Iterator[str]:
    """What the scales leave of the tensors, and which method would leave most."""
    counts = calibration.get("counts")
    if counts:
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        yield f"- coverage: {said}; method recommended: {calibration.get('recommended') or 'not known'}"
    decibels = calibration.get("decibels")
    if decibels:
        said = ", ".join(f"{method} {value:.1f} dB" for method, value in decibels.items())
        yield f"- signal over noise in int8, by method: {said}"


def _scales(calibration: Mapping[str, Any]) -> str:
    cache = calibration.get("cache")
    if cache is None:
        return (
            f"{calibration['method']} of {calibration['samples']} samples, {calibration['tensors']} tensors"
        )
    covered = cache["wanted"] - cache["counts"]["missing"]
    return (
        f"from a calibration cache ({one_line(cache['origin'])}): {covered} of {cache['wanted']} tensors; "
        f"{cache['matched']} of its {cache['entries']} entries match"
    )


def _share(audit: Mapping[str, Any]) -> str:
    layers = audit.get("layers") or {}
    if not layers:
        return ""
    return " (" + ", ".join(f"{count} layers {dtype}" for dtype, count in sorted(layers.items())) + ")"


def _code(name: str) -> str:
    """A tensor's name as code in a Markdown table."""
    return "`" + one_line(name).replace("`", "'").replace("|", "\\|") + "`"


def _io_row(tensor: Mapping[str, Any]) -> tuple[str, ...]:
    shape = "x".join("?" if dim < 0 else str(dim) for dim in tensor["shape"]) or "scalar"
    return _code(tensor["name"]), tensor["mode"], tensor["dtype"], shape


def _validation(validation: Mapping[str, Any]) -> Iterator[str]:
    yield f"Validation: {str(validation.get('outcome', 'not run')).replace('_', ' ')}"
    for dtype, twin in validation.get("twins", {}).items():
        yield f"- run on the CPU: {twin}, for ONNX Runtime has no kernels for {dtype} there"
    accuracy = validation.get("accuracy")
    if accuracy is not None:
        yield f"- accuracy {accuracy:.4g} (reference {validation.get('reference_accuracy', float('nan')):.4g})"
    yield ""
    rows = [
        (
            one["place"],
            _code(one["output"]),
            one["metric"],
            _number(one["value"]),
            _bound(one),
            one["outcome"],
        )
        for one in validation.get("verdicts", ())
    ]
    if rows:
        yield from _table(("on", "output", "metric", "value", "must be", "outcome"), rows)


def _bound(verdict: Mapping[str, Any]) -> str:
    parts = [f">= {verdict['min']:g}"] if verdict.get("min") is not None else []
    parts += [f"<= {verdict['max']:g}"] if verdict.get("max") is not None else []
    return " and ".join(parts)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def _table(header: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    yield ""
