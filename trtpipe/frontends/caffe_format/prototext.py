"""Reads protobuf's text format (protobuf.dev, "Text Format Language Specification") without a schema.

Returns a tree of fields, each with its place in the file. The fields are not interpreted; only text that is invalid for
every schema is rejected here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trtpipe.errors import Location, ModelError, Problem
from trtpipe.problem_codes import Code

LARGEST = 64 << 20
"""A prototxt of more bytes is refused; a net of 100,000 layers has 30 MiB."""

_WIDEST = 200  # the longest part of a line that is shown
_DEEPEST = 100  # protobuf's own limit on nesting
_MOST_FIELDS = 2_000_000

_BLANK = re.compile(r"(?:[ \t\r\n\f\v]|#[^\n]*)*")
_TOKEN = re.compile(
    r"""(?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>(?:0[xX][0-9A-Fa-f]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fF]?(?![A-Za-z0-9_.]))
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<sign>[-{}<>\[\]:;,./])
      | (?P<end>\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Scalar(NamedTuple):
    """A value as it is written: `kind` is `word` (also true, MAX, inf), `number` or `string` (unescaped)."""

    kind: str
    text: str


class Message(NamedTuple):
    """A message's fields in their order; `offset` is where it begins."""

    fields: list[TextField]
    offset: int


class TextField(NamedTuple):
    """One field; a list in brackets is as many fields. `offset` is that of its name, `at` that of its value."""

    name: str
    value: Scalar | Message
    offset: int
    at: int


@dataclass(frozen=True)
class TextDocument:
    """A file in text format, and how its offsets become lines and columns."""

    name: str
    text: str
    root: Message
    _starts: list[int] = field(default_factory=list)

    def locate(self, offset: int) -> Location:
        """The line and column of an offset, and that line."""
        return _locate(self.name, self.text, self._starts, offset)


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


def read_prototext(path: Path, name: str) -> TextDocument:
    """The fields of a file, called `name` in messages. Raises ModelError where it is not text format."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    return parse_prototext(data, name)


def parse_prototext(data: bytes, name: str) -> TextDocument:
    """The fields of a file's bytes; bytes that are not UTF-8, as often found in comments, are replaced."""
    if len(data) > LARGEST:
        raise ModelError(
            Code.FILE_TOO_LARGE,
            f"{name} is larger than {LARGEST >> 20} MiB",
            "give the prototxt, not the weights",
        )
    if b"\0" in data:
        remedy = "the source must be the prototxt; name the caffemodel in model.options.weights"
        raise ModelError(Code.NOT_A_PROTOTXT, f"{name} is not a prototxt: it is not text", remedy)
    text = data.decode("utf-8-sig", errors="replace")
    return TextDocument(name, text, _Parser(name, text).document())


def _locate(name: str, text: str, starts: list[int], offset: int) -> Location:
    if not starts:
        starts.append(0)
        starts.extend(match.end() for match in re.finditer("\n", text))
    line = bisect_right(starts, offset) - 1
    end = text.find("\n", starts[line])
    source = text[starts[line] : end if end >= 0 else len(text)].rstrip("\r")
    column = offset - starts[line] + 1
    return Location(name, line + 1, column, source[:_WIDEST] if column <= _WIDEST else "")


class _Parser:
    """A parser that looks one token ahead; iterative, so that deep nesting cannot overflow Python's stack."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.count = 0
        self.token = _Token("end", "", 0)
        self.position = 0
        self.advance()

    def document(self) -> Message:
        """The whole file as one message."""
        root = Message([], 0)
        open_: list[tuple[Message, str]] = [(root, "")]
        while True:
            message, closing = open_[-1]
            token = self.token
            if token.kind == "end":
                if closing:
                    at = self.where(message.offset)
                    raise self.error(token, f"{closing!r} is missing: the block of line {at.line} never ends")
                return root
            if token.text == closing and token.kind == "sign":
                open_.pop()
                self.advance()
                self.separator()
                continue
            inner = self.field(message)
            if inner is not None:
                open_.append(inner)
                if len(open_) > _DEEPEST:
                    raise self.error(token, f"messages are nested deeper than {_DEEPEST} levels")

    def field(self, message: Message) -> tuple[Message, str] | None:
        """Reads a field into the message; the message that it opens and how that closes, if it opens one."""
        name = self.token
        if name.kind == "sign" and name.text == "[":
            raise self.error(name, "Caffe's format has no extension fields")
        if name.kind != "word":
            raise self.error(name, f"expected the name of a field, not {_shown(name)}")
        self.advance()
        colon = self.accept(":")
        if self.token.text in ("{", "<") and self.token.kind == "sign":
            return self.opened(message, name)
        if not colon:
            raise self.error(
                self.token, f"expected ':' or '{{' after {name.text!r}, not {_shown(self.token)}"
            )
        if self.accept("["):
            self.list(message, name)
            return None
        at = self.token.offset
        self.add(message, TextField(name.text, self.scalar(), name.offset, at))
        self.separator()
        return None

    def opened(self, message: Message, name: _Token) -> tuple[Message, str]:
        closing = "}" if self.token.text == "{" else ">"
        inner = Message([], self.token.offset)
        self.add(message, TextField(name.text, inner, name.offset, self.token.offset))
        self.advance()
        return inner, closing

    def list(self, message: Message, name: _Token) -> None:
        """`[1, 2]` is a field for each; messages in brackets do not occur in Caffe's files."""
        while not self.accept("]"):
            if self.token.text in ("{", "<") and self.token.kind == "sign":
                raise self.error(self.token, "write the messages of a list as fields of their own")
            at = self.token.offset
            self.add(message, TextField(name.text, self.scalar(), name.offset, at))
            if not self.accept(",") and self.token.text != "]":
                raise self.error(self.token, f"expected ',' or ']', not {_shown(self.token)}")
        self.separator()

    def scalar(self) -> Scalar:
        token = self.token
        if token.kind == "string":
            return Scalar("string", "".join(self.strings()))
        minus = "-" if self.accept("-") else ""
        value = self.token
        if value.kind not in ("word", "number"):
            raise self.error(value, f"expected a value, not {_shown(value)}")
        self.advance()
        return Scalar(value.kind, minus + value.text)

    def strings(self) -> Iterator[str]:
        while self.token.kind == "string":
            yield _ESCAPE.sub(_unescaped, self.token.text[1:-1])
            self.advance()

    def add(self, message: Message, item: TextField) -> None:
        self.count += 1
        if self.count > _MOST_FIELDS:
            raise ModelError(Code.FILE_TOO_LARGE, f"{self.name} holds more than {_MOST_FIELDS:,} fields")
        message.fields.append(item)

    def accept(self, sign: str) -> bool:
        if self.token.kind != "sign" or self.token.text != sign:
            return False
        self.advance()
        return True

    def separator(self) -> None:
        if self.token.kind == "sign" and self.token.text in (",", ";"):
            self.advance()

    def advance(self) -> None:
        blank = _BLANK.match(self.text, self.position)  # before a token, which could match inside a comment
        start = blank.end() if blank else self.position
        match = _TOKEN.match(self.text, start)
        if match is None:
            raise self.unreadable(start)
        kind = match.lastgroup or "end"
        self.token = _Token(kind, match[kind], start)
        self.position = match.end()

    def unreadable(self, at: int) -> ModelError:
        char = self.text[at]
        quoted = char in "\"'"
        fact = "the quotes are not closed on this line" if quoted else f"unexpected character {char!r}"
        return self.error(_Token("sign", char, at), fact)

    def error(self, token: _Token, fact: str) -> ModelError:
        return ModelError(Problem(Code.NOT_A_PROTOTXT, fact, where=self.where(token.offset)))

    def where(self, offset: int) -> Location:
        return _locate(self.name, self.text, [], offset)


def _shown(token: _Token) -> str:
    return "the end of the file" if token.kind == "end" else repr(token.text[:40])


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return _PLAIN_ESCAPES.get(code, code)
