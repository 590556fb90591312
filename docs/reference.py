"""Makes the pages of `reference/` of the code: `python docs/reference.py` from the repository's root."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.main import get_command

from trtpipe.cli.main import app
from trtpipe.loader.schema import (
    bundle_schema,
    dataset_schema,
    fleet_schema,
    pipeline_schema,
    project_schema,
)
from trtpipe.reports.schema import report_schema
from trtpipe.workspace.known_names import known_names

FOLDER = Path(__file__).with_suffix("")
MADE = "This page is made of the code by `python docs/reference.py`.\n"
Schema = Mapping[str, Any]

COMMANDS = f"""\
# Commands

What `trtpipe COMMAND --help` says, on one page. `trtpipe --version` prints the version, `trtpipe --install-completion`
lets your shell complete commands. {MADE}"""
SPEC = f"""\
# The spec, key by key

What `trtpipe schema`, `trtpipe schema bundle`, `… dataset`, `… project` and `… fleet` say, for people. The README
has a spec by example. Keys that are not here are refused. {MADE}"""
REPORT = f"""\
# `report.json`, field by field

What `trtpipe schema report` says, for people: `build/report.json` is a [BuildReport](#buildreport), the `report.json`
beside an engine a [CellReport](#cellreport). Every field is always there. {MADE}"""


# -- commands


def commands_page() -> str:
    """Every command with its arguments and options."""
    parts = [COMMANDS]
    for name, command in _leaves("trtpipe", get_command(app)):
        parts.append("\n".join([f"## `{name}`\n", *_command_lines(name, command)]))
    return "\n".join(parts)


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer does not export click's class
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for each, one in below.items():
        if not one.hidden:
            yield from _leaves(f"{name} {each}", one)


def _command_lines(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401
    shown = [one for one in command.params if not getattr(one, "hidden", False) and "--help" not in one.opts]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one not in arguments]
    words = [name, *(["[OPTION…]"] if options else []), *map(_argument, arguments)]
    yield f"`{' '.join(words)}`\n"
    yield f"{_cell(command.help or '')}\n"
    if shown:
        yield from ("| argument or option | what it is |", "| --- | --- |")
        yield from (f"| {_code(_argument(one))} | {_cell(one.help or '')} |" for one in arguments)
        yield from (f"| {_option(one)} | {_cell(one.help or '')}{_more(one)} |" for one in options)
        yield ""


def _argument(one: Any) -> str:  # noqa: ANN401
    shown = one.metavar or one.name.upper()
    return shown if one.required or shown.startswith("[") else f"[{shown}]"


def _option(one: Any) -> str:  # noqa: ANN401
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    if one.is_flag:
        return names
    value = one.metavar or one.name.upper()  # its type is where each version of typer keeps it
    return f"{names} {_code(value)}"


def _more(one: Any) -> str:  # noqa: ANN401
    said = []
    if one.multiple:
        said.append("may be given several times")
    if one.secondary_opts:
        said.append(f"`{(one.opts if one.default else one.secondary_opts)[0]}` when left out")
    if not one.is_flag and isinstance(one.default, (str, int, float)):
        said.append(f"`{one.default}` when left out")
    return f" ({'; '.join(said)})" if said else ""


# -- schemas


def spec_page() -> str:
    """Every key of pipelines, bundles, data sets, project files and fleets."""
    page = _Page(SPEC)
    page.add("Pipelines: `pipelines/NAME.yaml`", pipeline_schema(known_names()))
    page.add("Bundles: `pipelines/NAME.yaml` too", bundle_schema())
    page.add("Data sets: `calibration/NAME.yaml`", dataset_schema())
    page.add("Projects: `trtpipe.yaml`", project_schema())
    page.add("Fleets: `fleet.yaml`", fleet_schema())
    return page.text()


def report_page() -> str:
    """Every field of a report."""
    page = _Page(REPORT)
    page.add("", report_schema())
    return page.text()


class _Page:
    """Sections for a schema and for what it refers to, each once."""

    def __init__(self, introduction: str) -> None:
        self._parts = [introduction]
        self._done: set[str] = set()

    def add(self, title: str, schema: Schema) -> None:
        """A file's own keys, and then those of everything below it."""
        if title:
            self._parts.append(_section(f"## {title}", schema))
        self._definitions(schema)

    def _definitions(self, schema: Schema) -> None:
        for name, one in schema.get("$defs", {}).items():
            title = _title(name, one)
            if title not in self._done:
                self._done.add(title)
                self._parts.append(_section(f"### {title}", one))
            self._definitions(one)

    def text(self) -> str:
        """The page."""
        return "\n".join(self._parts)


def _title(name: str, schema: Schema) -> str:
    layer = schema.get("properties", {}).get("layer", {}).get("const")
    if layer:
        return f"Layer {layer}"
    return f"Options of parser {name}" if name in known_names().parsers else name


def _section(heading: str, schema: Schema) -> str:
    lines = [f"{heading}\n"]
    if schema.get("description"):
        lines.append(f"{_cell(schema['description'])}\n")
    fields = schema.get("properties", {})
    if fields:
        lines += ["| key | value | when left out | what it is |", "| --- | --- | --- | --- |"]
    for name, one in fields.items():
        needed = "needed" if name in schema.get("required", ()) else _default(one)
        lines.append(f"| `{name}` | {_kind(one)} | {needed} | {_cell(one.get('description', ''))} |")
    return "\n".join([*lines, ""] if fields else lines)


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return "" if value in (None, [], {}, "") else _code(value)


def _code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if "|" not in text:
        return f"`{text}`"
    safe = html.escape(text, quote=False).replace("|", "&#124;")  # a bar ends a cell, also in code
    return f"<code>{safe}</code>"


def _kind(schema: Schema) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return ", ".join(map(_code, schema["enum"]))
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = dict.fromkeys(filter(None, map(_kind, schema[several])))
            return " or ".join(kinds)
    kind = schema.get("type", "")
    if isinstance(kind, list):
        return " or ".join(filter(None, (_kind({**schema, "type": one}) for one in kind)))
    return {"array": _list, "object": _mapping}.get(kind, _plain)(schema)


def _link(reference: str) -> str:
    title = TITLES.get(reference) or reference.rpartition("/")[2]
    return f"[{title}](#{title.lower().replace(' ', '-')})"


def _list(schema: Schema) -> str:
    items = schema.get("items") or {}
    if "allOf" in items:
        return "list of layers"
    return f"list of {_kind(items) or 'values'}"


def _mapping(schema: Schema) -> str:
    if schema.get("properties"):
        return "mapping of " + ", ".join(f"`{name}`" for name in schema["properties"])
    values = list(schema.get("patternProperties", {}).values()) or [schema.get("additionalProperties")]
    kind = _kind(values[0]) if isinstance(values[0], dict) else ""
    return f"mapping of names to {kind or 'values'}"


def _plain(schema: Schema) -> str:
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    name = names.get(schema.get("type", ""), "")
    least, most = (schema.get(key) for key in ("minimum", "maximum"))
    if name and least is not None and most is not None:
        return f"{name} from {least:g} to {most:.10g}"
    return f"{name} from {least:g}" if name and least is not None else name


def _cell(text: str) -> str:
    """Prose for a line: no breaks, and nothing that Markdown would take for a border or for HTML."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        _code(one.strip("`")) if one.startswith("`") else one.replace("<", "&lt;").replace("|", "\\|")
        for one in pieces
    )


def _titles(schema: Schema, at: str = "#") -> Iterator[tuple[str, str]]:
    for name, one in schema.get("$defs", {}).items():
        here = f"{at}/$defs/{name}"
        yield here, _title(name, one)
        yield from _titles(one, here)


TITLES = dict(_titles(pipeline_schema(known_names())))
"""Of each definition, by its reference, the heading that it has; others have their own name."""
PAGES = {"commands.md": commands_page, "spec.md": spec_page, "report.md": report_page}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, page in PAGES.items():
        (FOLDER / file).write_text(page(), encoding="utf-8")
