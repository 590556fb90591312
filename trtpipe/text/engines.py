"""Formats what is known of an engine file as lines; missing or unexpected fields of a manifest are omitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trtpipe.json_values import JsonObject, integer_in, object_in, objects_in, texts_in
from trtpipe.shapes import format_size
from trtpipe.text.tables import one_line, render_table

Odd = Mapping[str, object]
"""What a manifest or a record beside an engine says: it may be damaged, or hold anything."""


def engine_lines(record: JsonObject) -> Iterator[str]:
    """The lines for the description of an engine."""
    yield f"TensorRT engine, {format_size(integer_in(record, 'bytes'))}, BLAKE3 {record['blake3']}"
    shown = {name: value for name, value in _under(record, "header").items() if value not in (None, "", [])}
    if shown:
        yield "header: " + ", ".join(f"{name} {_plain(value)}" for name, value in shown.items())
    named = object_in(record, "gpus")
    for name in named:
        yield f"runs on {name}: {', '.join(texts_in(named, name)) or 'no GPU that has a name here'}"
    if isinstance(record["manifest"], Mapping):
        yield from _manifest(_under(record, "manifest"))
    else:
        yield "no manifest is known for these bytes"
    yield from _network(_under(record, "network"), every="layers" in record)
    yield from _records(_under(record, "records"))
    yield from _inspected(record.get("layers"))
    yield from map(one_line, texts_in(record, "notes"))


def _manifest(manifest: Odd) -> Iterator[str]:
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


def _interface(manifest: Odd) -> Iterator[str]:
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


def _network(network: JsonObject, *, every: bool) -> Iterator[str]:
    if not network:
        return
    counts = ", ".join(f"{one_line(name)} {count}" for name, count in object_in(network, "kinds").items())
    layers = objects_in(network, "layers")
    yield f"network of {len(layers)} layers: {counts}"
    types = object_in(network, "types")
    yield "layers in: " + ", ".join(f"{one_line(name)} {count}" for name, count in types.items())
    if every:
        rows = [_layer_row(layer) for layer in layers]
        yield render_table(("layer", "type", "dtype", "shape"), rows)


def _layer_row(layer: JsonObject) -> tuple[str, str, str, str]:
    first = next(iter(objects_in(layer, "outputs")), {})
    return _text(layer, "name"), _text(layer, "type"), _text(first, "dtype"), _dims(first.get("shape"))


def _records(records: Odd) -> Iterator[str]:
    proof = records.get("proof")
    if isinstance(proof, Mapping):
        gpu = _text(_under(proof, "gpu"), "name")
        yield f"run on a GPU: {_text(proof, 'outcome').replace('_', ' ')}" + (f" on {gpu}" if gpu else "")
    latency = _under(_under(_under(records, "bench"), "latency"), "compute")
    if latency.get("p50_us") is not None:
        yield f"latency: {latency['p50_us']} us of compute in the median"


def _inspected(layers: object) -> Iterator[str]:
    """The output of TensorRT's inspector, or why it was not run."""
    if isinstance(layers, str):
        yield f"layers: {one_line(layers)}"
    elif isinstance(layers, list):
        rows = [(_text(one, "name"), _text(one, "type"), _text(one, "outputs")) for one in layers]
        if rows:
            yield render_table(("engine layer", "type", "outputs"), rows)


def _under(record: object, name: str) -> JsonObject:
    found = record.get(name) if isinstance(record, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _list(record: Odd, name: str) -> list[object]:
    found = record.get(name)
    return found if isinstance(found, list) else []


def _text(record: object, name: str) -> str:
    found = record.get(name) if isinstance(record, Mapping) else None
    return "" if found is None else one_line(str(found))


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else one_line(str(value))


def _dims(dims: object) -> str:
    if not isinstance(dims, list):
        return "" if dims is None else one_line(str(dims))
    return one_line("x".join("?" if dim in (None, -1) else str(dim) for dim in dims)) or "scalar"
