"""Typed access to the fields of a parsed message: a value of the right kind, or a problem at its line.

Remembers which fields were requested, so that unknown fields can be rejected. Independent of layer types.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from trtpipe.errors import Location, ModelError, Problem
from trtpipe.frontends.caffe_format.prototext import Message, Scalar, TextDocument, TextField
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.json_values import Json

_TRUE, _FALSE = ("true", "t", "True", "1"), ("false", "f", "False", "0")
_LARGEST = 2**63
_LARGEST_FLOAT = 3.4028235677973366e38  # where float32 rounds to infinity
_MOST_UNKNOWN = 20  # the most problems that are reported


class WrongParameter(ModelError):
    """A field whose value is of the wrong kind, whatever the shapes around it."""


class Params:
    """The fields of one message; `what` names it in messages (`layer 'conv1'`)."""

    def __init__(self, message: Message, document: TextDocument, what: str) -> None:
        self._document = document
        self._message = message
        self._what = what
        self._read: set[str] = set()
        self._fields: dict[str, list[TextField]] = {}
        for item in message.fields:
            self._fields.setdefault(item.name, []).append(item)

    @property
    def message_itself(self) -> Message:
        """The wrapped message."""
        return self._message

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def names(self) -> list[str]:
        """The names of the fields that are written, in their order."""
        return list(self._fields)

    def where(self, name: str = "") -> Location:
        """The location of a field's value, or of the message itself."""
        fields = self._fields.get(name)
        return self._document.locate(fields[-1].at if fields else self._message.offset)

    def refuse(self, name: str, fact: str, remedy: str = "") -> ModelError:
        """The error to raise about a field of this message."""
        return ModelError(Problem(Code.CAFFE_PARAMETER, f"{self._what}: {fact}", remedy, self.where(name)))

    def number(self, name: str, default: float) -> float:
        """A finite number."""
        return self._number(item) if (item := self._one(name)) else default

    def numbers(self, name: str) -> list[float]:
        """A repeated number."""
        return [self._number(item) for item in self._all(name)]

    def integer(self, name: str, default: int, *, least: int | None = None) -> int:
        """A whole number, `least` or more."""
        item = self._one(name)
        return self._integer(item, least) if item else default

    def integers(self, name: str, *, least: int | None = None) -> list[int]:
        """A repeated whole number."""
        return [self._integer(item, least) for item in self._all(name)]

    def flag(self, name: str, default: bool) -> bool:
        """`true` or `false`."""
        item = self._one(name)
        if item is None:
            return default
        value = item.value
        if isinstance(value, Message) or value.kind == "string" or value.text not in (*_TRUE, *_FALSE):
            raise self._wrong(item, "true or false")
        return value.text in _TRUE

    def choice(self, name: str, default: str, names: Sequence[str], first: int = 0) -> str:
        """A name of an enumeration, which may be written as its number; numbers count from `first`."""
        item = self._one(name)
        if item is None:
            return default
        value = item.value
        if isinstance(value, Scalar) and value.kind == "number" and value.text.isdigit():
            index = int(value.text) - first if len(value.text) < 10 else -1
            if 0 <= index < len(names):
                return names[index]
        if not isinstance(value, Scalar) or value.text not in names:
            shown = value.text if isinstance(value, Scalar) else "{…}"
            fact = f"{self._what}: {name} has no value {shown!r}"
            raise WrongParameter(
                Problem(Code.CAFFE_PARAMETER, fact, choose_from(shown, names, "values"), self.where(name))
            )
        return value.text

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        return self._text(item) if (item := self._one(name)) else default

    def word(self, name: str) -> str:
        """A name or number without quotes, as written; empty when the field is missing."""
        item = self._one(name)
        if item is None:
            return ""
        if isinstance(item.value, Message) or item.value.kind == "string":
            raise self._wrong(item, "a name without quotes")
        return item.value.text

    def texts(self, name: str) -> list[str]:
        """A repeated string."""
        return [self._text(item) for item in self._all(name)]

    def message(self, name: str) -> Params:
        """A message in a field; an empty one when it is not written."""
        item = self._one(name)
        if item is None:
            return Params(Message([], self._message.offset), self._document, self._what)
        return self._inner(item)

    def messages(self, name: str) -> list[Params]:
        """A repeated message."""
        return [self._inner(item) for item in self._all(name)]

    def ignore(self, *names: str) -> None:
        """Marks fields as known that have no effect here."""
        self._read.update(names)

    def unknown(self) -> Iterator[Problem]:
        """A problem for each field that is present but was never requested."""
        unread = [name for name in self._fields if name not in self._read]
        for name in unread[:_MOST_UNKNOWN]:
            if fields := self._fields[name]:
                fact = f"{self._what}: unknown field {name!r}"
                where = self._document.locate(fields[0].offset)
                yield Problem(
                    Code.CAFFE_PARAMETER, fact, choose_from(name, sorted(self._read), "fields"), where
                )

    def to_dict(self) -> dict[str, Json]:
        """All fields as plain values; a field that is written more than once is a list."""
        found: dict[str, Json] = {}
        for name, fields in self._fields.items():
            values = [self._plain(item) for item in fields]
            found[name] = values if len(values) > 1 else values[0]
        self._read.update(found)
        return found

    def _plain(self, item: TextField) -> Json:
        if isinstance(item.value, Message):
            return self._inner(item).to_dict()
        if item.value.kind == "number":
            number = _number(item.value.text)
            return int(number) if _is_integer(item.value.text) else number
        if item.value.kind == "word" and item.value.text in ("true", "false"):
            return item.value.text == "true"
        return item.value.text

    def _all(self, name: str) -> Iterable[TextField]:
        self._read.add(name)
        return self._fields.get(name, ())

    def _one(self, name: str) -> TextField | None:
        fields = list(self._all(name))
        if len(fields) > 1:
            raise self.refuse(name, f"{name} is written {len(fields)} times", "leave out one of them")
        return fields[0] if fields else None

    def _inner(self, item: TextField) -> Params:
        if not isinstance(item.value, Message):
            raise self._wrong(item, "a block in braces")
        return Params(item.value, self._document, self._what)

    def _number(self, item: TextField) -> float:
        value = item.value
        number = _number(value.text) if isinstance(value, Scalar) and value.kind != "string" else math.nan
        if not abs(number) <= _LARGEST_FLOAT:
            raise self._wrong(item, "a number of 32 bits" if math.isfinite(number) else "a number")
        return float(number)

    def _integer(self, item: TextField, least: int | None) -> int:
        value = item.value
        if isinstance(value, Message) or value.kind != "number" or not _is_integer(value.text):
            raise self._wrong(item, "a whole number")
        found = _number(value.text)
        if math.isnan(found):  # 08 and 0xG look like whole numbers but are invalid
            raise self._wrong(item, "a whole number")
        number = int(found)
        if abs(number) >= _LARGEST:
            raise self._wrong(item, "a whole number of 64 bits")
        if least is not None and number < least:
            raise self._wrong(item, f"{least} or more")
        return number

    def _text(self, item: TextField) -> str:
        if isinstance(item.value, Message) or item.value.kind != "string":
            raise self._wrong(item, "text in quotes")
        return item.value.text

    def _wrong(self, item: TextField, wanted: str) -> WrongParameter:
        shown = "a block" if isinstance(item.value, Message) else repr(item.value.text[:60])
        where = self._document.locate(item.at)
        return WrongParameter(
            Problem(
                Code.CAFFE_PARAMETER, f"{self._what}: {item.name} must be {wanted}, not {shown}", where=where
            )
        )


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return len(digits) < 30 and (digits.isdecimal() or digits[:2] in ("0x", "0X"))


def _number(text: str) -> float:
    """A number of the text format: decimal, hexadecimal, octal (0 first), with an f behind, inf or nan."""
    digits = text.removeprefix("-")
    sign = -1 if text.startswith("-") else 1
    try:
        if _is_integer(text):
            octal = digits[0] == "0" and digits.isdecimal() and len(digits) > 1
            return sign * int(digits, 8 if octal else 16 if digits[1:2] in ("x", "X") else 10)
        return sign * float(digits.rstrip("fF") if digits[:1] in "0123456789." else digits)
    except ValueError:
        return math.nan
