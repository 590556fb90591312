"""Formats the results of `diff` as text for a terminal or as Markdown for a pull request, with the same sections.

Works on plain JSON values. Long lists are truncated in text and collapsed in Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from trtpipe.text.tables import one_line, render_table

_SHOWN = 40  # rows of a table
_LISTED = 8  # names in a sentence
_LONGEST = 160  # characters of a value


_SPECIAL = {ord(char): f"&#{ord(char)};" for char in "\\`*_[]<>|#~@!$&"}


@dataclass(frozen=True, slots=True)
class Section:
    """A title with a table under it; a section without rows is a sentence."""

    title: str
    header: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()


def difference_text(record: JsonObject) -> str:
    """The differences as plain text."""
    lines = [headline(record)]
    for section in sections(record):
        lines.append(one_line(section.title))
        if section.rows:
            table = render_table(section.header, [_cut(row) for row in section.rows[:_SHOWN]])
            lines += [f"  {line}" for line in table.splitlines()]
        if len(section.rows) > _SHOWN:
            lines.append(f"  … and {len(section.rows) - _SHOWN} more (--json lists all)")
    return "\n".join(lines)


def difference_markdown(record: JsonObject) -> str:
    """The differences as Markdown; tables of more than 40 rows are folded."""
    lines = [f"### {_escaped(headline(record))}", ""]
    for section in sections(record):
        if not section.rows:
            lines += [f"- {_escaped(section.title)}"]
            continue
        if lines[-1]:
            lines.append("")
        folded = len(section.rows) > _SHOWN
        title = _escaped(section.title)
        lines += [f"<details><summary>{title}</summary>", ""] if folded else [f"**{title}**", ""]
        lines += [_row(section.header), _row(["---"] * len(section.header))]
        lines += [_row([_escaped(cell) for cell in _cut(row)]) for row in section.rows]
        lines += ["", "</details>", ""] if folded else [""]
    return "\n".join(lines).rstrip()


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """Text escaped for Markdown and HTML, because a model's tensors may have any name."""
    return one_line(text).translate(_SPECIAL)


def _cut(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…" for text in row)


def headline(record: JsonObject) -> str:
    """One sentence: what was compared, and whether it differs."""
    sides = f"{one_line(text_in(record, 'a'))} and {one_line(text_in(record, 'b'))}"
    if record["kind"] == "engine":
        verdict = record["verdict"]
        if verdict != "different" and record["differs"]:
            return f"{sides}: {verdict}, and what is known of them differs"
        return f"{sides}: {verdict}"
    if record.get("identical"):
        return f"{sides}: identical bytes"
    if record["differs"]:
        return f"{sides} differ"
    graph = object_in(record, "graph") if record.get("graph") else {}
    told = [
        f"{counted(integer_in(graph, key), what)} renamed"
        for key, what in (("renamed_nodes", "node"), ("renamed_weights", "weight"))
        if graph.get(key)
    ]
    told += ["nodes in another order"] if graph.get("reordered") else []
    if record["kind"] == "model":
        return f"{sides} compute the same" + (f": {', '.join(told)}" if told else "")
    return f"{sides} are equal"


def sections(record: JsonObject) -> Iterator[Section]:
    """The sections with differences, in order; sections without any are omitted."""
    if record.get("identical"):
        return
    kinds = {"model": _model, "weights": _weights, "lockfile": _lock, "engine": _engine}
    yield from kinds.get(text_in(record, "kind"), _leaves_of)(record)


def _node_sections(graph: JsonObject) -> Iterator[Section]:
    for what in ("added", "removed"):
        nodes = [(str(name), str(op)) for name, op in _lists(graph, what)]
        if nodes:
            yield Section(f"{counted(len(nodes), 'node')} {what}", ("node", "operator"), nodes)
    if graph["changed"]:
        header = ("node", "operator", "what", "old", "new")
        changes = [
            (_both(one), *(str(one[key]) for key in ("op", "what", "old", "new")))
            for one in objects_in(graph, "changed")
        ]
        yield Section(f"{counted(len(changes), 'change')} of nodes", header, changes)


def _model(record: JsonObject) -> Iterator[Section]:
    graph = object_in(record, "graph")
    if record["interface"]:
        rows = [_old_and_new(one, text_in(one, "mode")) for one in objects_in(record, "interface")]
        yield Section("inputs and outputs", ("mode", "old", "new"), rows)
    if record["opsets"]:
        opsets = [
            (str(domain), str(old or "-"), str(new or "-")) for domain, old, new in _lists(record, "opsets")
        ]
        yield Section("opsets", ("domain", "old", "new"), opsets)
    if record["functions"]:
        yield Section(f"functions that differ: {listed(texts_in(record, 'functions'))}")
    yield from _node_sections(graph)
    yield from _weight_sections(graph)
    yield from _types(object_in(record, "types"))
    sizes = object_in(record, "size")
    rows = [(name, *(_amount(name, one) for one in list_in(sizes, name))) for name in sizes]
    if rows:
        yield Section("size and cost", ("what", "old", "new"), rows)
    if record["differs"]:
        yield from _names(graph)


def _old_and_new(one: JsonObject, name: str) -> tuple[str, ...]:
    return name, *(str(one[side] or "-") for side in ("old", "new"))


def _lists(record: JsonObject, field: str) -> Iterator[Sequence[Json]]:
    """The lists in a list."""
    yield from (one for one in list_in(record, field) if isinstance(one, (list, tuple)))


def _names(graph: JsonObject) -> Iterator[Section]:
    for key, what in (("renamed_nodes", "node"), ("renamed_weights", "weight")):
        if graph[key]:
            count = counted(integer_in(graph, key), what)
            yield Section(f"renamed, which changes nothing of what is computed: {count}")
    if graph["reordered"]:
        yield Section("nodes are in another order, which does not change what is computed")


def _both(one: JsonObject) -> str:
    return _arrow((str(one["a"]), str(one["b"])))


def _weights(record: JsonObject) -> Iterator[Section]:
    yield from _weight_sections(object_in(record, "graph"))


def _weight_sections(graph: JsonObject) -> Iterator[Section]:
    weights = objects_in(graph, "weights")
    if weights:
        header = ("weight", "dtype", "shape", "changed", "max change", "relative", "mean relative")
        yield Section(f"{counted(len(weights), 'weight')} changed", header, [_weight(one) for one in weights])
    for what in ("added", "removed"):
        names = texts_in(graph, f"{what}_weights")
        if names:
            yield Section(f"{counted(len(names), 'weight')} {what}: {listed(names)}")


def _weight(one: JsonObject) -> tuple[str, ...]:
    changed = "-" if one["changed"] is None else f"{one['changed']} of {one['elements']}"
    numbers = (one["largest"], one["relative"], one["mean_relative"])
    return (
        _both(one),
        _arrow(texts_in(one, "dtypes")),
        _arrow([_dims(dims) for dims in list_in(one, "dims")]),
        changed,
        *(f"{n:.3g}" if isinstance(n, (int, float)) else "-" for n in numbers),
    )


def _dims(dims: Json) -> str:
    if not isinstance(dims, (list, tuple)):
        return "flat"
    return "x".join(map(str, dims)) or "scalar"


def _arrow(pair: Sequence[str]) -> str:
    return pair[0] if pair[0] == pair[1] else f"{pair[0]} -> {pair[1]}"


def _types(types: JsonObject) -> Iterator[Section]:
    if types["unknown"]:
        yield Section("the types in which nodes compute are unknown: shape inference fails on one side")
    old, new = ({str(name): count for name, count in _lists(types, side)} for side in ("old", "new"))
    rows = [(name, str(old.get(name, 0)), str(new.get(name, 0))) for name in sorted(old.keys() | new.keys())]
    if rows:
        yield Section("nodes per type", ("type", "old", "new"), rows)
    yield from _changed_types(types, "changed", "node")


def _changed_types(record: JsonObject, field: str, noun: str) -> Iterator[Section]:
    """Entries of old type, new type and the names that changed from the one to the other."""
    for before, after, names in _lists(record, field):
        told = [str(one) for one in names] if isinstance(names, (list, tuple)) else []
        yield Section(f"{before} -> {after} in {counted(len(told), noun)}: {listed(told)}")


def _amount(name: str, value: Json) -> str:
    if value is None:
        return "not known"
    return format_size(value) if name.endswith("bytes") and isinstance(value, int) else str(value)


def _lock(record: JsonObject) -> Iterator[Section]:
    bundles = object_in(record, "bundles")
    yield from _entries(record, "cell")
    yield from _entries(bundles, "bundle")
    for one, noun in ((record, "cell"), (bundles, "bundle")):
        if one["unchanged"] and record["differs"]:
            yield Section(f"{counted(integer_in(one, 'unchanged'), noun)} as before")


def _entries(record: JsonObject, noun: str) -> Iterator[Section]:
    """What changed in a lockfile's cells, or in its bundles."""
    for what in ("added", "removed"):
        names = texts_in(record, what)
        if names:
            yield Section(f"{counted(len(names), noun)} {what}: {listed(names, most=_SHOWN)}")
    groups = objects_in(record, "groups")
    for group in groups:
        yield from _group(group, noun)
    told = [fact for group in groups for fact in objects_in(group, "causes")]
    rows = [
        (text_in(one, "cell"), text_in(fact, "field"), *_shortened(fact))
        for one in objects_in(record, "changed")
        for fact in objects_in(one, "facts")
        if fact not in told and fact["field"] != "key"
    ]
    if rows:
        yield Section(f"{noun} by {noun}", (noun, "field", "old", "new"), rows)


def _shortened(fact: JsonObject) -> tuple[str, str]:
    return _short(text_in(fact, "old")), _short(text_in(fact, "new"))


def _group(group: JsonObject, noun: str) -> Iterator[Section]:
    """The common changes of several cells or bundles: causes as old -> new, and their consequences."""
    cells = texts_in(group, "cells")
    causes = ", ".join(map(_cause, objects_in(group, "causes")))
    follows = ", ".join(
        f"{field.replace('_', ' ')} in {number}"
        for field, number in object_in(group, "follows").items()
        if field != "key"
    )
    text = f"{counted(len(cells), noun)}: {causes or group['why']}"
    text += f"; changed: {follows}" if follows else ""
    old, new = (size for size in list_in(group, "bytes") if isinstance(size, int))
    text += f"; engines {format_size(old)} -> {format_size(new)}" if old != new else ""
    yield Section(f"{text} ({listed(cells)})")


def _cause(fact: JsonObject) -> str:
    old, new = _shortened(fact)
    return f"{text_in(fact, 'field').replace('_', ' ')} {old or 'none'} -> {new or 'none'}"


def _engine(record: JsonObject) -> Iterator[Section]:
    if record["verdict"] != "identical bytes":
        fields = {"bytes": "bytes", "BLAKE3": "digests", "normalised": "normalised"}
        sides = {name: [str(one) for one in list_in(record, field)] for name, field in fields.items()}
        rows = [(name, _short(old), _short(new)) for name, (old, new) in sides.items() if old != new]
        yield Section("engine", ("what", "old", "new"), rows)
    if record["header"]:
        yield _leaves("header", objects_in(record, "header"))
    changed = object_in(record, "sections")
    for title in changed:
        yield _leaves(title, objects_in(changed, title))
    if record["layers"] is not None:
        layer = object_in(record, "layers")
        both = [(side, *_layer(layer, side)) for side in ("old", "new")]
        header = ("side", "name", "type", "outputs")
        yield Section(f"first layer that differs: number {layer['index']}", header, both)
    yield from _changed_types(record, "layer_types", "layer")
    if record["measured"]:
        yield _leaves("measured", objects_in(record, "measured"))
    yield from (Section(f"not compared: {why}") for why in texts_in(record, "unknown"))
    if record.get("typed model") is not None:
        yield from _typed_model(object_in(record, "typed model"))


def _typed_model(inner: JsonObject) -> Iterator[Section]:
    if not inner.get("identical"):
        for section in _model(inner):
            yield Section(f"typed model: {section.title}", section.header, section.rows)


def _layer(change: JsonObject, side: str) -> tuple[str, str, str]:
    if change[side] is None:
        return "-", "-", "-"
    layer = object_in(change, side)
    outputs = ", ".join(
        f"{one['name']} {one['dtype']} {'x'.join('?' if d == -1 else str(d) for d in list_in(one, 'shape'))}"
        for one in objects_in(layer, "outputs")
    )
    return text_in(layer, "name"), text_in(layer, "type"), outputs


def _leaves(title: str, changes: Sequence[JsonObject]) -> Section:
    rows = [(text_in(one, "path"), _value(one["old"]), _value(one["new"])) for one in changes]
    return Section(title, ("field", "old", "new"), rows)


def _leaves_of(record: JsonObject) -> Iterator[Section]:
    changes = objects_in(record, "changes")
    if changes:
        yield _leaves(text_in(record, "kind"), changes)


def _value(value: object) -> str:
    if value is None:
        return "-"
    return (
        _short(value)
        if isinstance(value, str)
        else f"{value:.6g}"
        if isinstance(value, float)
        else str(value)
    )


def _short(text: str) -> str:
    """A digest shortened to twelve digits; anything else unchanged."""
    word = text[:64]
    hexadecimal = len(word) == 64 and all(char in "0123456789abcdef" for char in word)
    return (
        word[:12] + text[64:].replace("/", " of ") if hexadecimal and text[64:65] in ("", " ", "/") else text
    )


def counted(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str], most: int = _LISTED) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(one_line, names[:most])) + more
