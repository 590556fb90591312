"""Parses YAML text into plain data, with the position of every key and value.

Accepts the plain subset of YAML: mappings with text keys, lists, scalars as `scalars.py` reads them. Tags, merge keys,
several documents, deep nesting and aliases that expand exponentially are rejected. Works on the parser's events, so
neither a deep file nor one with many aliases can exhaust the stack or the memory. Does not interpret the spec.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from trtpipe.errors import Location, Problem, SpecError
from trtpipe.loader.marks import Branch, Document, Mark, Place, SourceText, mark_of, start_of
from trtpipe.loader.plain import Yaml
from trtpipe.loader.scalars import kind_of, plain_value, shortened
from trtpipe.problem_codes import Code, ProblemCode

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_ALIASED = 1000
"""How many values all aliases of a file may stand for, counted after expansion."""

_UNREADABLE = re.compile(r"[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAB = re.compile(r"^ *\t", re.MULTILINE)
_SURROGATE = re.compile(r"[\ud800-\udfff]")

_Loader: type[yaml.CSafeLoader | yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Skip:
    """A placeholder for a key that was rejected."""


_SKIP = _Skip()


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    data: dict[str, Yaml] | list[Yaml]
    place: Branch
    anchor: str | None
    nodes_before: int
    deepest: int
    key: str | _Skip | None = None
    """The key whose value comes next (`_SKIP` when it was refused); None when a key is expected."""


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Yaml
    place: Place
    nodes: int
    height: int


class _Stop(Exception):
    """A problem after which reading cannot continue."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _Reader:
    """Builds data and places from events. One reader reads one text."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.complete = True
        self.open: list[_Open] = []
        self.anchors: dict[str, _Anchored] = {}
        self.documents = 0
        self.nodes = 0
        self.aliased = 0
        self.root: tuple[Yaml, Place] | None = None
        self.on: dict[type, Callable[[Any], None]] = {
            ScalarEvent: self._scalar,
            MappingStartEvent: self._start,
            SequenceStartEvent: self._start,
            MappingEndEvent: self._end,
            SequenceEndEvent: self._end,
            AliasEvent: self._alias,
            DocumentStartEvent: self._document,
        }

    def read(self) -> None:
        """Read all events. Raises _Stop and yaml.YAMLError."""
        on = self.on
        for event in yaml.parse(self.source.text, Loader=_Loader):
            if (act := on.get(type(event))) is not None:
                act(event)

    def refuse(
        self, mark: Mark, code: ProblemCode, fact: str, remedy: str = "", *, complete: bool = False
    ) -> None:
        """Records a problem at a place; reading continues."""
        self.problems.append(self._problem(mark, code, fact, remedy))
        self.complete = self.complete and complete

    def _problem(self, mark: Mark, code: ProblemCode, fact: str, remedy: str) -> Problem:
        return Problem(code, fact, remedy, self.source.location(mark.line, mark.column))

    def _document(self, event: DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            fact = "a second document starts here"
            raise _Stop(
                self._problem(
                    mark_of(event),
                    Code.YAML_FEATURE,
                    fact,
                    "use one document per file, without '---' between",
                )
            )

    def _scalar(self, event: ScalarEvent) -> None:
        written = event.value
        value: Yaml = written
        if event.tag is not None:
            self._refuse_tag(event)
        elif event.implicit[0]:
            try:
                value = plain_value(written)
            except ValueError as error:
                self.refuse(
                    mark_of(event),
                    Code.NOT_A_NUMBER,
                    str(error),
                    "write a finite number, or put it in quotes to make it text",
                )
        elif not written.isascii() and _SURROGATE.search(written):
            self.refuse(
                mark_of(event),
                Code.NOT_UTF8,
                "half of a surrogate pair in text",
                "write the character itself",
            )
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(value, event, 1, 0)
        self._put(value, event, event)

    def _start(self, event: CollectionStartEvent) -> None:
        if event.tag is not None:
            self._refuse_tag(event)
        if len(self.open) >= MAX_DEPTH:
            mark = mark_of(event)
            raise _Stop(_too_deep(self.source.location(mark.line, mark.column)))
        data: dict[str, Yaml] | list[Yaml] = {} if type(event) is MappingStartEvent else []
        place = Branch(mark_of(event), bool(event.flow_style))
        self.open.append(_Open(data, place, event.anchor, self.nodes, len(self.open) + 1))

    def _end(self, event: MappingEndEvent | SequenceEndEvent) -> None:
        done = self.open.pop()
        if done.anchor is not None:
            nodes, height = self.nodes - done.nodes_before + 1, done.deepest - len(self.open)
            self.anchors[done.anchor] = _Anchored(done.data, done.place, nodes, height)
        if self.open and self.open[-1].deepest < done.deepest:
            self.open[-1].deepest = done.deepest
        self._put(done.data, done.place, event)

    def _alias(self, event: AliasEvent) -> None:
        known = self._anchored(event)
        if known is None:
            self._put(
                None, ScalarEvent(None, None, (True, False), "", event.start_mark, event.end_mark), event
            )
            return
        self.nodes += known.nodes - 1
        self.aliased += known.nodes
        depth = len(self.open) + known.height
        if self.aliased > MAX_ALIASED or depth > MAX_DEPTH:
            fact = f"aliases expand to more than {MAX_ALIASED} values or {MAX_DEPTH} levels"
            raise _Stop(
                self._problem(
                    mark_of(event),
                    Code.TOO_DEEP,
                    fact,
                    "write the values out if they are few, or remove the alias",
                )
            )
        if self.open:
            self.open[-1].deepest = max(self.open[-1].deepest, depth)
        self._put(known.value, known.place, event)

    def _anchored(self, event: AliasEvent) -> _Anchored | None:
        name = str(event.anchor)
        if any(part.anchor == name for part in self.open):
            self.refuse(
                mark_of(event),
                Code.YAML_FEATURE,
                f"alias '*{shortened(name)}' is inside the value that it refers to",
                "write the value out in place of the alias",
            )
            return None
        if name not in self.anchors:
            fact = f"alias '*{shortened(name)}' names no anchor"
            self.refuse(mark_of(event), Code.YAML_FEATURE, fact, "put text that starts with '*' in quotes")
        return self.anchors.get(name)

    def _refuse_tag(self, event: ScalarEvent | CollectionStartEvent) -> None:
        self.refuse(
            mark_of(event),
            Code.YAML_FEATURE,
            f"tag {_shown_tag(str(event.tag))!r} is not allowed",
            "specs are plain data: remove the tag",
        )

    def _put(self, value: Yaml, place: Place, event: Event) -> None:
        self.nodes += 1
        if not self.open:
            self.root = (value, place)
            return
        parent = self.open[-1]
        data = parent.data
        if isinstance(data, list):
            parent.place.items[len(data)] = place
            data.append(value)
        elif parent.key is None:
            parent.key = self._key(parent, value, place, mark_of(event))
        else:
            if isinstance(parent.key, str):
                data[parent.key] = value
                parent.place.items[parent.key] = place
            parent.key = None

    def _key(self, parent: _Open, value: Yaml, place: Place, mark: Mark) -> str | _Skip:
        if not isinstance(place, ScalarEvent):
            self.refuse(
                place.start,
                Code.KEY_NOT_TEXT,
                f"a key must be text, not {kind_of(value)}",
                "write the key as text",
            )
            return _SKIP
        if not isinstance(value, str):
            key = self._odd_key(value, place, mark)
        elif value == "<<" and place.implicit[0]:
            self.refuse(mark, Code.YAML_FEATURE, "merge key '<<' is not allowed", "write the keys out")
            return _SKIP
        else:
            key = value
        if key in parent.data:
            first = parent.place.keys[key].line + 1
            fact = f"key {shortened(key)!r} is given twice, first on line {first}"
            self.refuse(mark, Code.KEY_TWICE, fact, "keep one of them", complete=True)
            return _SKIP
        parent.place.keys[key] = mark
        return key

    def _odd_key(self, value: Yaml, place: ScalarEvent, mark: Mark) -> str:
        """The text of a key that YAML reads as a number, a boolean or null."""
        remedy = f"put it in quotes: '{place.value}'" if place.value else "write the key before the ':'"
        self.refuse(
            mark, Code.KEY_NOT_TEXT, f"a key must be text, not {kind_of(value)}", remedy, complete=True
        )
        return place.value


def _shown_tag(tag: str) -> str:
    prefix = "tag:yaml.org,2002:"
    return shortened("!!" + tag[len(prefix) :] if tag.startswith(prefix) else tag)


def document_from_text(text: str, file: str) -> Document:
    """The document in a text. Raises SpecError if it cannot be read to the end; lesser problems are kept in the
    document.
    """
    source = SourceText(text, file)
    _refuse_characters(source)
    reader = _Reader(source)
    try:
        reader.read()
    except _Stop as stop:
        raise SpecError([*reader.problems, stop.problem]) from None
    except yaml.YAMLError as error:
        raise SpecError([*reader.problems, _syntax_problem(source, error)]) from error
    data, place = reader.root if reader.root is not None else (None, None)
    if not isinstance(data, dict) or not isinstance(place, Branch):
        raise SpecError([*reader.problems, _root_problem(source, data, place)])
    return Document(source, data, place, tuple(reader.problems), reader.complete)


def _refuse_characters(source: SourceText) -> None:
    if match := _UNREADABLE.search(source.text):
        fact = f"character U+{ord(match[0]):04X} is not allowed in YAML"
        raise SpecError(Problem(Code.YAML_FEATURE, fact, "remove it", source.location_at(match.start())))
    if match := _TAB.search(source.text):
        where = source.location_at(match.end() - 1)
        raise SpecError(Problem(Code.YAML_FEATURE, "a tab in the indentation", "indent with spaces", where))


def _root_problem(source: SourceText, data: Yaml, place: Place | None) -> Problem:
    remedy = "start with 'schema: 1'"
    if data is None or place is None:
        return Problem(Code.NOT_A_MAPPING, "the file is empty", remedy, source.location(0, 0))
    mark = start_of(place)
    fact = f"the file must hold a mapping, not {kind_of(data)}"
    return Problem(Code.NOT_A_MAPPING, fact, remedy, source.location(mark.line, mark.column))


_ADVICE = (
    ("mapping values are not allowed", "quote text that holds ': ', and start all keys of a mapping in one column"),
    ("while scanning an alias", "put text that starts with '*' in quotes"),
    ("while scanning an anchor", "put text that starts with '&' in quotes"),
    ("cannot start any token", "put text that starts with this character in quotes"),
    ("',' or '}'", "close the '{', or put text that holds ',' or ': ' in quotes"),
    ("',' or ']'", "close the '[', or put text that holds ',' in quotes"),
    ("unexpected end of stream", "close the quotes"),
    ("expected ':'", "write 'key: value', with a blank after the colon"),
    ("did not find expected", "start all keys of a mapping, and all '-' of a list, in one column"),
)  # fmt: skip


def _too_deep(where: Location) -> Problem:
    return Problem(Code.TOO_DEEP, f"nested more than {MAX_DEPTH} deep", "use a flatter form", where)


def _syntax_problem(source: SourceText, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or "the text cannot be read"
    context = getattr(error, "context", None) or ""
    text = f"{context} {what}"
    remedy = next((advice for sign, advice in _ADVICE if sign in text), "")
    where = source.location(mark.line, mark.column) if mark is not None else source.location(0, 0)
    if "nesting depth" in what:  # the nesting limit of newer PyYAML releases
        return _too_deep(where)
    context_mark = getattr(error, "context_mark", None)
    begun = f" {context}, which starts on line {context_mark.line + 1}" if context and context_mark else ""
    return Problem(Code.NOT_YAML, f"not YAML: {what}{begun}", remedy, where)


def read_document(path: Path) -> Document:
    """The document in a file of at most 1 MiB of UTF-8. Raises SpecError."""
    file = shown_path(path)
    data = _bytes_of(path, file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        source = SourceText(data.decode("utf-8", "replace"), file)
        fact = f"not UTF-8: byte 0x{data[error.start]:02x}"
        where = source.location_at(len(before))
        raise SpecError(Problem(Code.NOT_UTF8, fact, "save the file as UTF-8", where)) from error
    return document_from_text(text, file)


def _bytes_of(path: Path, file: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpecError(Problem(Code.NOT_A_FILE, "not a file", "name a YAML file", Location(file, 1, 1)))
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(Code.CANNOT_READ, f"cannot read {file!r}: {reason.lower()}") from error
    if len(data) > MAX_BYTES:
        remedy = "a spec refers to models and data, it does not contain them"
        raise SpecError(
            Problem(Code.FILE_TOO_LARGE, "the file is larger than 1 MiB", remedy, Location(file, 1, 1))
        )
    return data


def shown_path(path: Path) -> str:
    """A path as messages show it: relative to the working directory when inside it."""
    whole = Path(os.path.normpath(path.absolute()))
    try:
        return str(whole.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(whole)
