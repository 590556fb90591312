"""Marks: the line and column of every key and value of a document.

Deals with lines, columns and paths; independent of YAML's grammar and of what a spec means.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from yaml.events import Event, ScalarEvent

from trtpipe.errors import Location, Problem, SpecPath
from trtpipe.loader.plain import Yaml
from trtpipe.problem_codes import ProblemCode

_LINE_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
_LONGEST_SHOWN_LINE = 240


class Mark(Protocol):
    """A position in the text, counted from 0; a protocol, because PyYAML's two parsers have different classes."""

    @property
    def line(self) -> int:
        """The line."""

    @property
    def column(self) -> int:
        """The character in the line."""


@dataclass(slots=True)
class Branch:
    """Where a mapping or a list starts, and the positions of its contents."""

    start: Mark
    flow: bool
    keys: dict[str, Mark] = field(default_factory=dict)
    items: dict[str | int, Branch | ScalarEvent] = field(default_factory=dict)


Place = Branch | ScalarEvent


class SourceText:
    """A text with its name, which can show any of its places."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_BREAK.finditer(self.text))]

    def location(self, line: int, column: int) -> Location:
        """The place at a line and a column, both counted from 0."""
        source = self._line(line)
        shown = "".join(char if char.isprintable() or char == "\t" else "?" for char in source)
        return Location(self.file, line + 1, column + 1, shown)

    def _line(self, number: int) -> str:
        """A line without its line break; empty if it is too long to be shown (and copied for every mark)."""
        bounds = self._starts[number : number + 2]
        start, end = bounds if len(bounds) == 2 else (*bounds, len(self.text), len(self.text))[:2]
        if end - start > _LONGEST_SHOWN_LINE:
            return ""
        return _LINE_BREAK.split(self.text[start:end], maxsplit=1)[0]

    def location_at(self, index: int) -> Location:
        """The place of the character at an index."""
        line = bisect_right(self._starts, index) - 1
        return self.location(line, index - self._starts[line])


@dataclass(frozen=True)
class Document:
    """One YAML file as plain data, the places of its values, and problems that did not stop the reading."""

    source: SourceText
    data: dict[str, Yaml]
    places: Branch
    problems: tuple[Problem, ...] = ()
    complete: bool = True
    """Whether `data` holds all that was written, so that looking for missing keys makes sense."""

    @property
    def file(self) -> str:
        """The file's name as it is shown."""
        return self.source.file

    def has(self, path: SpecPath) -> bool:
        """Whether a value was written at this path."""
        return len(self._walk(path)[0]) == len(path)

    def written(self, path: SpecPath) -> str | None:
        """The text of the scalar at this path as it was written, without quotes; None for anything else."""
        found, _, place = self._walk(path)
        return place.value if isinstance(place, ScalarEvent) and len(found) == len(path) else None

    def locate(self, path: SpecPath, *, key: bool = False) -> Location:
        """Where the value at `path` starts, or its key; the nearest thing around it when it was not written."""
        found, key_mark, place = self._walk(path)
        aim_at_key = key or len(found) < len(path) or _is_hidden(place)
        mark = key_mark if key_mark is not None and aim_at_key else start_of(place)
        return self.source.location(mark.line, mark.column)

    def problem(
        self, code: ProblemCode, fact: str, remedy: str = "", path: SpecPath = (), *, key: bool = False
    ) -> Problem:
        """A problem with its location."""
        return Problem(code, fact, remedy, self.locate(path, key=key), path)

    def _walk(self, path: SpecPath) -> tuple[SpecPath, Mark | None, Place]:
        place: Place = self.places
        key_mark: Mark | None = None
        for depth, step in enumerate(path):
            if not isinstance(place, Branch) or step not in place.items:
                return path[:depth], key_mark, place
            key_mark = place.keys.get(step) if isinstance(step, str) else None
            place = place.items[step]
        return path, key_mark, place


def start_of(place: Place) -> Mark:
    """The mark at which a value starts."""
    return place.start if isinstance(place, Branch) else mark_of(place)


def mark_of(event: Event) -> Mark:
    """Where an event of the parser starts."""
    assert event.start_mark is not None, "the parser marks every event"
    return event.start_mark


def _is_hidden(place: Place) -> bool:
    """Whether the key is a better position than the value's own start: for a block (it starts at its first key) or an
    empty value.
    """
    if isinstance(place, Branch):
        return not place.flow
    return place.value == "" and bool(place.implicit[0])
