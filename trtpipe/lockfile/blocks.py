"""The lockfile's text by blocks: one for each cell and each step, read only when it is asked for.

A lockfile of ten thousand cells has a quarter of a million lines, and a build needs few of them: it asks of most cells
whether their block is still the same text. So a lockfile that is written as trtpipe writes it is split with one regular
expression, which accepts only text that YAML reads in the same way; any other text is left to YAML (`reader.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from trtpipe.lockfile.entries import KEEP, RECIPE, SCHEMA, Entry, Fact, StepEntry

_WORD = r"[A-Za-z0-9_./@+,()<>=-]*(?::(?![ \n])[A-Za-z0-9_./@+,()<>=-]*)*"
_PLAIN = rf"[A-Za-z0-9]{_WORD}(?: (?=[^ \n]){_WORD})*"
_CHARACTER = r"[^\"\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]"
_ESCAPE = r"\\(?:[\"\\bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
_QUOTED = rf'"{_CHARACTER}*(?:{_ESCAPE}{_CHARACTER}*)*"'
_NAME = rf"(?:{_PLAIN}|{_QUOTED})"
_PAIR = rf"{_NAME}: {_NAME}\n"
_NAMED = rf"    (?!{KEEP}){_NAME}:\n(?:      {_PAIR})+"
_GLOBS = rf"    {KEEP}{_WORD}:\n(?:      - {_QUOTED}\n)+"
_CELL = re.compile(rf"  ({_NAME}):\n((?:    (?!{KEEP}){_PAIR}|{_NAMED}|{_GLOBS})+)")
_STEP = re.compile(rf"  ({_NAME}):\n((?:    {_PAIR})+)")
_BEGIN = re.compile(rf"(?:#[^\n\x00-\x1f\x7f]*\n)*schema: {SCHEMA}\ncells:(?: \{{\}})?\n")
_BUNDLES = re.compile(r"bundles:\n")
_STEPS = re.compile(r"steps:(?: \{\})?\n")
_ENTRY = TypeVar("_ENTRY", bound=Mapping[str, object])


class Blocks(Mapping[str, _ENTRY], Generic[_ENTRY]):
    """Entries by name, as texts; each is read when it is asked for."""

    def __init__(self, texts: Mapping[str, str], read: Callable[[str], _ENTRY]) -> None:
        self.texts = texts
        """Name → the lines of its facts."""
        self._read = read

    def __getitem__(self, name: str) -> _ENTRY:
        return self._read(self.texts[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __contains__(self, name: object) -> bool:
        return name in self.texts

    def __repr__(self) -> str:
        return f"Blocks({dict(self)!r})"


def split(text: str) -> tuple[Blocks[Entry], Blocks[StepEntry], Blocks[Entry]] | None:
    """The cells, the steps and the bundles of a lockfile; None when it is not written as trtpipe of today writes it."""
    begin = _BEGIN.match(text)
    if begin is None:
        return None
    cells: dict[str, str] = {}
    steps: dict[str, str] = {}
    bundles: dict[str, str] = {}
    at = _collect(_CELL, text, begin.end(), cells)
    if (of_bundles := _BUNDLES.match(text, at)) is not None:
        at = _collect(_CELL, text, of_bundles.end(), bundles)
    if (found := _STEPS.match(text, at)) is not None:
        at = _collect(_STEP, text, found.end(), steps)
    if at != len(text) or not all(f"    {RECIPE}: " in block for block in steps.values()):
        return None
    empty = (text.startswith("cells: {}", begin.end() - 10), found is not None and found[0].endswith("{}\n"))
    if empty != (not cells, found is not None and not steps) or (of_bundles is not None) != bool(bundles):
        return None
    return Blocks(cells, entry_in), Blocks(steps, step_in), Blocks(bundles, entry_in)


def _collect(pattern: re.Pattern[str], text: str, at: int, found: dict[str, str]) -> int:
    """The blocks from there on; where the last one ends."""
    while (block := pattern.match(text, at)) is not None:
        found[_unquoted(block[1])] = block[2]
        at = block.end()
    return at


def text_in(entries: Mapping[str, object], name: str) -> str | None:
    """The text of an entry's block, if it is known without writing one."""
    return entries.texts.get(name) if isinstance(entries, Blocks) else None


def fact_in(cells: Mapping[str, Entry], name: str, field: str) -> Fact | None:
    """One fact of a cell, without reading the others if it is a text."""
    block = text_in(cells, name)
    if block is None:
        return cells.get(name, {}).get(field)
    _, found, rest = f"\n{block}".partition(f"\n    {field}: ")
    return _unquoted(rest.partition("\n")[0]) if found else entry_in(block).get(field)


def entries_with(cells: Mapping[str, Entry], field: str) -> Iterator[Entry]:
    """The entries of the cells that have a fact of that name; of others none is read."""
    for name in cells:
        block = text_in(cells, name)
        if block is None or f"    {field}:" in block:
            yield cells[name]


def entry_in(block: str) -> Entry:
    """The facts of a cell, by its block."""
    entry: dict[str, Fact] = {}
    names: dict[str, str] = {}
    globs: list[str] = []
    for line in block.split("\n")[:-1]:
        if line.startswith("      - "):
            globs.append(_unquoted(line[8:]))
        elif line.startswith("      "):
            name, value = _pair(line[6:])
            names[name] = value
        elif line.endswith(":"):  # no value does
            field = _unquoted(line[4:-1])
            names, globs = {}, []
            entry[field] = globs if field.startswith(KEEP) else names
        else:
            field, value = _pair(line[4:])
            entry[field] = value
    return entry


def step_in(block: str) -> StepEntry:
    """The facts of a step, by its block."""
    return dict(_pair(line[4:]) for line in block.split("\n")[:-1])


def _pair(text: str) -> tuple[str, str]:
    if not text.startswith('"'):
        name, _, value = text.partition(": ")
        return name, _unquoted(value)
    name, end = json.JSONDecoder().raw_decode(text)
    return str(name), _unquoted(text[end + 2 :])


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text
