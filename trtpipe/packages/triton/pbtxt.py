"""Writes messages in the text format of Protocol Buffers, in which Triton reads `config.pbtxt`.

A message is a list of fields in the order in which they are written; a repeated field is there several times. Knows no
field by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Word:
    """The name of an enumeration's value, which is written without quotes."""

    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message inside another one."""

    fields: Sequence[Field]


Scalar: TypeAlias = bool | int | str | Word
Value: TypeAlias = Scalar | Message | Sequence[Scalar]
"""A list of scalars is written on one line: `dims: [ 3, -1 ]`."""
Field: TypeAlias = tuple[str, Value]


def render(fields: Sequence[Field]) -> str:
    """The message as text, which ends with a line break."""
    return "".join(f"{line}\n" for line in _lines(fields))


def _lines(fields: Sequence[Field]) -> list[str]:
    found: list[str] = []
    for name, value in fields:
        if isinstance(value, Message):
            inner = [f"  {line}" for line in _lines(value.fields)]
            found += [f"{name} {{", *inner, "}"] if inner else [f"{name} {{ }}"]
        elif isinstance(value, (bool, int, str, Word)):
            found.append(f"{name}: {_scalar(value)}")
        else:
            found.append(f"{name}: [ {', '.join(map(_scalar, value))} ]" if value else f"{name}: [ ]")
    return found


def _scalar(value: Scalar) -> str:
    if isinstance(value, Word):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text: str) -> str:
    """Bytes other than printable ASCII are written as octal numbers, which every reader of the format knows."""
    return '"' + "".join(_byte(one) for one in text.encode()) + '"'


def _byte(one: int) -> str:
    character = chr(one)
    if character in '"\\':
        return f"\\{character}"
    return character if 0x20 <= one < 0x7F else f"\\{one:03o}"
