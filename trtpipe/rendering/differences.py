"""What `diff` found, as text for a terminal or Markdown for a pull request: the same sections in two forms.

Works on plain JSON values. Long lists are cut in the text and folded away in Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtpipe.rendering.tables import one_line, render_table
from trtpipe.shapes import format_size

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


def difference_text(record: Mapping[str, Any]) -> str:
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


def difference_markdown(record: Mapping[str, Any]) -> str:
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
    """Text that Markdown and HTML take as it is: a model may name its tensors anything."""
    return one_line(text).translate(_SPECIAL)


def _cut(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…" for text in row)


def headline(record: Mapping[str, Any]) -> str:
    """One sentence: what was compared, and whether it differs."""
    sides = f"{one_line(record['a'])} and {one_line(record['b'])}"
    if record["kind"] == "engine":
        verdict = record["verdict"]
        if verdict != "different" and record["differs"]:
            return f"{sides}: {verdict}, and what is known of them differs"
        return f"{sides}: {verdict}"
    if record.get("identical"):
        return f"{sides}: identical bytes"
    if record["differs"]:
        return f"{sides} differ"
    graph = record.get("graph") or {}
    told = [
        f"{counted(graph[key], what)} renamed"
        for key, what in (("renamed_nodes", "node"), ("renamed_weights", "weight"))
        if graph.get(key)
    ]
    told += ["nodes in another order"] if graph.get("reordered") else []
    if record["kind"] == "model":
        return f"{sides} compute the same" + (f": {', '.join(told)}" if told else "")
    return f"{sides} are equal"


def sections(record: Mapping[str, Any]) -> Iterator[Section]:
    """What differs, in order; nothing for what does not."""
    if record.get("identical"):
        return
    kinds = {"model": _model, "weights": _weights, "lockfile": _lock, "engine": _engine}
    yield from kinds.get(record["kind"], _leaves_of)(record)


def _model(record: Mapping[str, Any]) -> Iterator[Section]:
    graph = record["graph"]
    if record["interface"]:
        rows = [(one["mode"], one["old"] or "-", one["new"] or "-") for one in record["interface"]]
        yield Section("inputs and outputs", ("mode", "old", "new"), rows)
    if record["opsets"]:
        rows = [(domain, str(old or "-"), str(new or "-")) for domain, old, new in record["opsets"]]
        yield Section("opsets", ("domain", "old", "new"), rows)
    if record["functions"]:
        yield Section(f"functions that differ: {listed(record['functions'])}")
    for what in ("added", "removed"):
        if graph[what]:
            nodes = [(str(name), str(op)) for name, op in graph[what]]
            yield Section(f"{counted(len(nodes), 'node')} {what}", ("node", "operator"), nodes)
    if graph["changed"]:
        header = ("node", "operator", "what", "old", "new")
        changes = [
            tuple(map(str, (_both(one), *(one[key] for key in ("op", "what", "old", "new")))))
            for one in graph["changed"]
        ]
        yield Section(f"{counted(len(changes), 'change')} of nodes", header, changes)
    yield from _weight_sections(graph)
    yield from _types(record["types"])
    rows = [(name, _amount(name, old), _amount(name, new)) for name, (old, new) in record["size"].items()]
    if rows:
        yield Section("size and cost", ("what", "old", "new"), rows)
    if record["differs"]:
        yield from _names(graph)


def _names(graph: Mapping[str, Any]) -> Iterator[Section]:
    for key, what in (("renamed_nodes", "node"), ("renamed_weights", "weight")):
        if graph[key]:
            told = f"renamed, which changes nothing of what is computed: {counted(graph[key], what)}"
            yield Section(told)
    if graph["reordered"]:
        yield Section("nodes stand in another order, which is no change of what is computed")


def _both(one: Mapping[str, Any]) -> str:
    return one["a"] if one["a"] == one["b"] else f"{one['a']} -> {one['b']}"


def _weights(record: Mapping[str, Any]) -> Iterator[Section]:
    yield from _weight_sections(record["graph"])


def _weight_sections(graph: Mapping[str, Any]) -> Iterator[Section]:
    if graph["weights"]:
        header = ("weight", "dtype", "shape", "changed", "max change", "relative", "mean relative")
        yield Section(
            f"{counted(len(graph['weights']), 'weight')} changed",
            header,
            [_weight(one) for one in graph["weights"]],
        )
    for what in ("added", "removed"):
        if graph[f"{what}_weights"]:
            yield Section(
                f"{counted(len(graph[f'{what}_weights']), 'weight')} {what}: {listed(graph[f'{what}_weights'])}"
            )


def _weight(one: Mapping[str, Any]) -> tuple[str, ...]:
    dtypes, dims = (
        one["dtypes"],
        ["x".join(map(str, d)) or "scalar" if d is not None else "flat" for d in one["dims"]],
    )
    changed = "-" if one["changed"] is None else f"{one['changed']} of {one['elements']}"
    numbers = (one["largest"], one["relative"], one["mean_relative"])
    return (
        _both(one),
        _arrow(dtypes),
        _arrow(dims),
        changed,
        *("-" if n is None else f"{n:.3g}" for n in numbers),
    )


def _arrow(pair: Sequence[str]) -> str:
    return pair[0] if pair[0] == pair[1] else f"{pair[0]} -> {pair[1]}"


def _types(types: Mapping[str, Any]) -> Iterator[Section]:
    if types["unknown"]:
        yield Section("the types that nodes compute in cannot be told: shape inference fails on one side")
    old, new = dict(types["old"]), dict(types["new"])
    rows = [(name, str(old.get(name, 0)), str(new.get(name, 0))) for name in sorted(old.keys() | new.keys())]
    if rows:
        yield Section("nodes per type", ("type", "old", "new"), rows)
    for before, after, names in types["changed"]:
        yield Section(f"{before} -> {after} in {counted(len(names), 'node')}: {listed(names)}")


def _amount(name: str, value: Any) -> str:
    if value is None:
        return "not known"
    return format_size(value) if name.endswith("bytes") else str(value)


def _lock(record: Mapping[str, Any]) -> Iterator[Section]:
    for what in ("added", "removed"):
        if record[what]:
            yield Section(f"{counted(len(record[what]), 'cell')} {what}: {listed(record[what], most=_SHOWN)}")
    for group in record["groups"]:
        yield from _group(group)
    rows = [
        (one["cell"], fact["field"], _short(fact["old"]), _short(fact["new"]))
        for one in record["changed"]
        for fact in one["facts"]
        if not _told_by_group(record, fact)
    ]
    if rows:
        yield Section("cell by cell", ("cell", "field", "old", "new"), rows)
    if record["unchanged"] and record["differs"]:
        yield Section(f"{counted(record['unchanged'], 'cell')} as before")


def _told_by_group(record: Mapping[str, Any], fact: Mapping[str, Any]) -> bool:
    return any(fact in group["causes"] for group in record["groups"]) or fact["field"] == "key"


def _group(group: Mapping[str, Any]) -> Iterator[Section]:
    """What several cells have in common: causes as old -> new, and what followed."""
    cells = group["cells"]
    causes = ", ".join(
        f"{one['field'].replace('_', ' ')} {_short(one['old']) or 'none'} -> {_short(one['new']) or 'none'}"
        for one in group["causes"]
    )
    follows = ", ".join(
        f"{field.replace('_', ' ')} in {number}"
        for field, number in group["follows"].items()
        if field != "key"
    )
    text = f"{counted(len(cells), 'cell')}: {causes or group['why']}"
    text += f"; changed: {follows}" if follows else ""
    old, new = group["bytes"]
    text += f"; engines {format_size(old)} -> {format_size(new)}" if old != new else ""
    yield Section(f"{text} ({listed(cells)})")


def _engine(record: Mapping[str, Any]) -> Iterator[Section]:
    if record["verdict"] != "identical bytes":
        facts = [("bytes", *map(str, record["bytes"])), ("BLAKE3", *record["digests"])]
        facts += (
            [("normalised", *record["normalised"])]
            if record["normalised"][0] != record["normalised"][1]
            else []
        )
        rows = [(name, _short(old), _short(new)) for name, old, new in facts if old != new]
        yield Section("engine", ("what", "old", "new"), rows)
    if record["header"]:
        yield _leaves("header", record["header"])
    for title, changes in record["sections"].items():
        yield _leaves(title, changes)
    if record["layers"] is not None:
        layer = record["layers"]
        both = [(side, *_layer(layer[side])) for side in ("old", "new")]
        header = ("side", "name", "type", "outputs")
        yield Section(f"first layer that differs: number {layer['index']}", header, both)
    for before, after, names in record["layer_types"]:
        yield Section(f"{before} -> {after} in {counted(len(names), 'layer')}: {listed(names)}")
    if record["measured"]:
        yield _leaves("measured", record["measured"])
    yield from (Section(f"not compared: {why}") for why in record["unknown"])
    inner = record.get("typed model")
    if inner is not None and not inner.get("identical"):
        for section in _model(inner):
            yield Section(f"typed model: {section.title}", section.header, section.rows)


def _layer(layer: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if layer is None:
        return "-", "-", "-"
    outputs = ", ".join(
        f"{one['name']} {one['dtype']} {'x'.join('?' if d == -1 else str(d) for d in one['shape'])}"
        for one in layer["outputs"]
    )
    return layer["name"], layer["type"], outputs


def _leaves(title: str, changes: Sequence[Mapping[str, Any]]) -> Section:
    rows = [(one["path"], _value(one["old"]), _value(one["new"])) for one in changes]
    return Section(title, ("field", "old", "new"), rows)


def _leaves_of(record: Mapping[str, Any]) -> Iterator[Section]:
    if record["changes"]:
        yield _leaves(record["kind"], record["changes"])


def _value(value: Any) -> str:
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
    """A digest by its first twelve digits; all else as it is."""
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
