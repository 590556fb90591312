"""Formats a network that TensorRT's parser created."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.json_values import JsonObject, integer_in, list_in, object_in, objects_in, text_in, texts_in
from trtpipe.shapes import format_size
from trtpipe.text.tables import one_line, render_table


def layer_words(layer: JsonObject) -> str:
    """A layer in a few words: its number, type and name."""
    return f"{integer_in(layer, 'number')} {text_in(layer, 'type')} '{text_in(layer, 'name')}'"


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """The warnings of TensorRT's parser; repeated ones once."""
    counts = {text: warnings.count(text) for text in warnings}
    return [
        f"TensorRT's parser warns: {one_line(text)}" + (f" ({count} times)" if count > 1 else "")
        for text, count in counts.items()
    ]


def network_lines(record: JsonObject) -> list[str]:
    """The record of `networks.description`: layers, then totals."""
    header = ["layer", "type", "name", "ONNX node", "outputs"]
    rows = [
        [
            str(integer_in(layer, "number")),
            text_in(layer, "type"),
            text_in(layer, "name"),
            str(layer["node"] or ""),
            ", ".join(_tensor(one) for one in objects_in(layer, "outputs")),
        ]
        for layer in objects_in(record, "layers")
    ]
    return [
        f"TensorRT's network of {text_in(record, 'cell')}, as {text_in(record, 'toolchain')} parses it",
        *(
            f"{mode[:-1]} {_tensor(one)}"
            for mode in ("inputs", "outputs")
            for one in objects_in(record, mode)
        ),
        *([render_table(header, rows)] if rows else []),
        *_totals(record),
        *warning_lines(texts_in(record, "warnings")),
    ]


def _tensor(one: JsonObject) -> str:
    shape = one["shape"]
    sizes = "of unknown rank" if shape is None else _shape([str(size) for size in list_in(one, "shape")])
    return f"{text_in(one, 'name')}: {text_in(one, 'dtype')} {sizes}"


def _shape(sizes: Sequence[str]) -> str:
    return "x".join("?" if size == "-1" else size for size in sizes) or "scalar"


def _totals(record: JsonObject) -> list[str]:
    totals = object_in(record, "totals")
    types = ", ".join(f"{kind} {count}" for kind, count in object_in(totals, "by_type").items())
    layers = integer_in(totals, "layers")
    lines = [f"{layers} layer{'' if layers == 1 else 's'}: {types}"]
    lines.append(f"weights {format_size(integer_in(totals, 'weights_bytes'))}")
    lines += [
        f"{totals[name]} {name[:-1] if totals[name] == 1 else name}"
        for name in ("loops", "conditionals", "attentions")
        if totals[name]
    ]
    unread = objects_in(record, "unread")
    lines += [
        f"not read: '{text_in(one, 'name')}' ({text_in(one, 'type')}): {text_in(one, 'why')}"
        for one in unread
    ]
    return lines
