"""Formats the comparison of two TensorRT versions as Markdown and as a self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from html import escape

from trtpipe.json_values import (
    JsonObject,
    integer_in,
    number_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.shapes import format_size
from trtpipe.text.tables import one_line

HEADER = ("cell", "status", "refused", "validation", "accuracy", "size", "layers by type", "build")
_SHOWN = 20

_STYLE = """
:root { color-scheme: light dark; --line: #ccc; --bad: #b00020; --good: #00691c; --soft: #666; }
@media (prefers-color-scheme: dark) { :root { --line: #444; --bad: #ff8a94; --good: #7fdc94; --soft: #aaa; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption, th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; }
thead th { border-bottom: 2px solid var(--line); }
tbody tr { border-bottom: 1px solid var(--line); }
tbody th { font-weight: 600; }
.failed, .worse { color: var(--bad); font-weight: 600; }
.better { color: var(--good); }
small { color: var(--soft); }
pre { white-space: pre-wrap; }
"""


def upgrade_markdown(record: JsonObject) -> str:
    """The text of a pull request: the outcome, the lines to change, a table, the failures in full."""
    return "\n".join(_markdown(record)).rstrip() + "\n"


def summary_line(record: JsonObject) -> str:
    """`8 cells: 1 failed, 7 same`."""
    rows = objects_in(record, "cells")
    counts = Counter(text_in(row, "status") for row in rows)
    cells = "1 cell" if len(rows) == 1 else f"{len(rows)} cells"
    return f"{cells}: " + (", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing")


def _title(record: JsonObject) -> str:
    return f"Upgrade to {record['toolchain']}"


def _markdown(record: JsonObject) -> Iterator[str]:
    yield f"# {_title(record)}"
    yield ""
    yield summary_line(record)
    yield ""
    yield "## What to change"
    yield ""
    yield from (f"- {_code(one)}" for one in texts_in(record, "changes"))
    yield ""
    yield "## Old and new"
    yield ""
    yield "| " + " | ".join(HEADER) + " |"
    yield "| " + " | ".join("---" for _ in HEADER) + " |"
    rows = objects_in(record, "cells")
    for row in rows:
        yield "| " + " | ".join(_cell_text(text) for text in _cells(row)) + " |"
    failed = [row for row in rows if row["problems"]]
    if failed:
        yield ""
        yield "## Failures on the new version"
    for row in failed:
        yield ""
        yield f"### {one_line(text_in(row, 'cell'))}"
        yield ""
        yield from (f"- {_code(said)}" for said in texts_in(row, "problems")[:_SHOWN])
    yield from _bundle_lines(record)
    notes = texts_in(record, "notes")
    if notes:
        yield ""
        yield from (f"- {_cell_text(note)}" for note in notes)


def _bundle_lines(record: JsonObject) -> Iterator[str]:
    """Each bundle on the new version, with what failed."""
    rows = objects_in(record, "bundles") if "bundles" in record else []
    if rows:
        yield from ["", "## Bundles on the new version", ""]
    for row in rows:
        said = "; ".join(texts_in(row, "problems")[:_SHOWN])
        yield f"- {_code(text_in(row, 'bundle'))}: {row['status']}{f': {_cell_text(said)}' if said else ''}"


def _code(text: str) -> str:
    """The text as a code span, so that nothing in it is interpreted as Markdown."""
    plain = one_line(text)
    fence = "``" if "`" in plain else "`"
    return f"{fence} {plain} {fence}" if fence == "``" else f"`{plain}`"


def _cell_text(text: str) -> str:
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")


def _cells(row: JsonObject) -> tuple[str, ...]:
    old, new = (None if row[side] is None else object_in(row, side) for side in ("old", "new"))
    return (
        text_in(row, "cell"),
        text_in(row, "status"),
        str(len(texts_in(row, "problems"))),
        _both(old, new, lambda one: text_in(one, "outcome")),
        _both(old, new, lambda one: _number(one, "accuracy", ".4g")),
        _both(old, new, lambda one: format_size(integer_in(one, "bytes"))) + _growth(old, new),
        _both(old, new, lambda one: _mix(object_in(one, "layers"))),
        _both(old, new, lambda one: _number(one, "build_seconds", ".1f", " s")),
    )


def _number(one: JsonObject, name: str, form: str, unit: str = "") -> str:
    """A number that may be unknown; then a dash."""
    return "-" if one[name] is None else f"{number_in(one, name):{form}}{unit}"


def _both(old: JsonObject | None, new: JsonObject | None, show: Callable[[JsonObject], str]) -> str:
    """`old → new`, or one value if both are the same; a dash if there is no engine."""
    shown = ["-" if one is None else show(one) for one in (old, new)]
    return shown[0] if shown[0] == shown[1] else " → ".join(shown)


def _growth(old: JsonObject | None, new: JsonObject | None) -> str:
    if old is None or new is None or not old["bytes"] or old["bytes"] == new["bytes"]:
        return ""
    return f" ({100 * (integer_in(new, 'bytes') / integer_in(old, 'bytes') - 1):+.1f} %)"


def _mix(layers: JsonObject) -> str:
    return ", ".join(f"{count} {dtype}" for dtype, count in sorted(layers.items())) or "-"


def upgrade_html(record: JsonObject) -> str:
    """The same as one page, in light or dark colours; it loads nothing and runs no script."""
    title = escape(_title(record))
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><main>",
        f"<h1>{title}</h1><p>{escape(summary_line(record))}</p>",
        "<h2>What to change</h2><ul>",
        *(f"<li><code>{escape(one)}</code></li>" for one in texts_in(record, "changes")),
        "</ul><h2>Old and new</h2><div><table><thead><tr>",
        *(f'<th scope="col">{name}</th>' for name in HEADER),
        "</tr></thead><tbody>",
        *(_html_row(row) for row in objects_in(record, "cells")),
        "</tbody></table></div>",
        *_html_failures(objects_in(record, "cells")),
        *(f"<p><small>{escape(note)}</small></p>" for note in texts_in(record, "notes")),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _html_row(row: JsonObject) -> str:
    name, status, *others = _cells(row)
    cells = "".join(f"<td>{escape(text)}</td>" for text in others)
    kind = status.replace(" ", "-")
    return f'<tr><th scope="row">{escape(name)}</th><td class="{kind}">{status}</td>{cells}</tr>'


def _html_failures(rows: Sequence[JsonObject]) -> Iterator[str]:
    failed = [row for row in rows if row["problems"]]
    if failed:
        yield "<h2>Failures on the new version</h2>"
    for row in failed:
        yield f"<h3>{escape(text_in(row, 'cell'))}</h3><ul>"
        yield from (f"<li><pre>{escape(said)}</pre></li>" for said in texts_in(row, "problems")[:_SHOWN])
        yield "</ul>"
