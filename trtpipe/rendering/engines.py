"""What is known of an engine file, as lines for people. What a manifest leaves out, or says oddly, is passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtpipe.rendering.tables import one_line, render_table
from trtpipe.shapes import format_size


def engine_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """The lines for the description of an engine."""
    yield f"TensorRT engine, {format_size(record['bytes'])}, BLAKE3 {record['blake3']}"
    shown = {name: value for name, value in (record["header"] or {}).items() if value not in (None, "", [])}
    if shown:
        yield "header: " + ", ".join(f"{name} {_plain(value)}" for name, value in shown.items())
    for name, gpus in record["gpus"].items():
        yield f"runs on {name}: {', '.join(gpus) or 'no GPU that has a name here'}"
    if isinstance(record["manifest"], Mapping):
        yield from _manifest(record["manifest"])
    else:
        yield "no manifest is known for these bytes"
    yield from _network(record.get("network"), every="layers" in record)
    yield from _records(record.get("records") or {})
    yield from _inspected(record.get("layers"))
    yield from map(one_line, record["notes"])


def _manifest(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield f"cell {_text(manifest, 'cell')}, precision {_text(manifest, 'precision')}"
    toolchain = _under(manifest, "toolchain")
    yield f"built by {_text(toolchain, 'flavour')} {_text(toolchain, 'version')}, {_text(toolchain, 'python')}"
    for name, digest in _under(manifest, "source").items():
        yield f"source {one_line(str(name))}: {one_line(str(digest))}"
    planned = _under(_under(manifest, "typed"), "planned")
    if planned:
        yield "nodes computed in: " + ", ".join(f"{name} {count}" for name, count in planned.items())
    yield from _interface(manifest)
    validation = _under(manifest, "validation")
    yield f"validation: {str(validation.get('outcome', 'not run')).replace('_', ' ')}"
    for reason in _list(manifest, "not_run"):
        yield f"not run: {one_line(str(reason))}"


def _interface(manifest: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (_text(one, "mode"), _text(one, "name"), _text(one, "dtype"), _dims(one.get("shape")))
        for one in _list(manifest, "io")
        if isinstance(one, Mapping)
    ]
    if rows:
        yield render_table(("mode", "tensor", "dtype", "shape"), rows)
    for index, profile in enumerate(_list(manifest, "profiles")):
        corners = [
            (str(name), *(_dims(entry.get(corner)) for corner in ("min", "opt", "max")))
            for name, entry in (profile.items() if isinstance(profile, Mapping) else ())
            if isinstance(entry, Mapping)
        ]
        if corners:
            yield render_table((f"profile {index}", "min", "opt", "max"), corners)


def _network(network: Mapping[str, Any] | None, *, every: bool) -> Iterator[str]:
    if not network:
        return
    counts = ", ".join(f"{one_line(name)} {count}" for name, count in network["kinds"].items())
    yield f"network of {len(network['layers'])} layers: {counts}"
    yield "layers in: " + ", ".join(f"{one_line(name)} {count}" for name, count in network["types"].items())
    if every:
        rows = [_layer_row(layer) for layer in network["layers"]]
        yield render_table(("layer", "type", "dtype", "shape"), rows)


def _layer_row(layer: Mapping[str, Any]) -> tuple[str, str, str, str]:
    first = layer["outputs"][0] if layer["outputs"] else {}
    return _text(layer, "name"), _text(layer, "type"), _text(first, "dtype"), _dims(first.get("shape"))


def _records(records: Mapping[str, Any]) -> Iterator[str]:
    proof = records.get("proof")
    if isinstance(proof, Mapping):
        gpu = _text(_under(proof, "gpu"), "name")
        yield f"run on a GPU: {_text(proof, 'outcome').replace('_', ' ')}" + (f" on {gpu}" if gpu else "")
    latency = _under(_under(_under(records, "bench"), "latency"), "compute")
    if latency.get("p50_us") is not None:
        yield f"latency: {latency['p50_us']} us of compute in the median"


def _inspected(layers: Any) -> Iterator[str]:
    """What TensorRT's inspector said, or why it was not asked."""
    if isinstance(layers, str):
        yield f"layers: {one_line(layers)}"
    elif isinstance(layers, list):
        rows = [(_text(one, "name"), _text(one, "type"), _text(one, "outputs")) for one in layers]
        if rows:
            yield render_table(("engine layer", "type", "outputs"), rows)


def _under(record: Any, name: str) -> Mapping[str, Any]:
    found = record.get(name) if isinstance(record, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _list(record: Mapping[str, Any], name: str) -> list[Any]:
    found = record.get(name)
    return found if isinstance(found, list) else []


def _text(record: Any, name: str) -> str:
    found = record.get(name) if isinstance(record, Mapping) else None
    return "" if found is None else one_line(str(found))


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else one_line(str(value))


def _dims(dims: Any) -> str:
    if not isinstance(dims, list):
        return "" if dims is None else one_line(str(dims))
    return one_line("x".join("?" if dim in (None, -1) else str(dim) for dim in dims)) or "scalar"
