"""Typed access to JSON: reads fields of an untrusted record with checks of their type.

`json.loads` may return anything. `read_object` checks that the text is a `JsonObject`, and the functions below read a
field of it with the required type. A missing field or one of another type raises `Malformed`, which names the field;
the caller, who knows the file, turns that into one sentence for the user.

Independent of any particular record type.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""A value as JSON has it. Sequences are lists or tuples; a string is not meant by one."""
JsonObject: TypeAlias = Mapping[str, Json]
_SURROGATE = b"\\ud"
"""Half of a character, perhaps without its other half: then the text cannot be written again."""


class Malformed(ValueError):
    """A record does not have the expected form; the text names the field, in a few words."""


def read_object(text: str | bytes) -> dict[str, Json]:
    """The object in a JSON text. Raises Malformed, also for NaN, 1e999, deep nesting and anything that is not text."""
    try:
        found = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float)
        if _SURROGATE in (text if isinstance(text, bytes) else text.encode()).lower():
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Malformed("it is not JSON") from error
    return dict(as_object(found, "the document"))


def as_object(value: object, name: str) -> JsonObject:
    """The value, which must be an object. Raises Malformed."""
    if not isinstance(value, Mapping):
        raise Malformed(f"{name} is not an object")
    return value


def object_in(record: JsonObject, name: str) -> JsonObject:
    """A field that must be an object. Raises Malformed."""
    return as_object(field_in(record, name), name)


def objects_in(record: JsonObject, name: str) -> list[JsonObject]:
    """A field that must be a list of objects. Raises Malformed."""
    return [as_object(one, f"an entry of {name}") for one in list_in(record, name)]


def list_in(record: JsonObject, name: str) -> Sequence[Json]:
    """A field that must be a list. Raises Malformed."""
    found = field_in(record, name)
    if not isinstance(found, (list, tuple)):
        raise Malformed(f"{name} is not a list")
    return found


def text_in(record: JsonObject, name: str) -> str:
    """A field that must be a string. Raises Malformed."""
    found = field_in(record, name)
    if not isinstance(found, str):
        raise Malformed(f"{name} is not a text")
    return found


def texts_in(record: JsonObject, name: str) -> list[str]:
    """A field that must be a list of strings. Raises Malformed."""
    found = [one for one in list_in(record, name) if isinstance(one, str)]
    if len(found) != len(list_in(record, name)):
        raise Malformed(f"an entry of {name} is not a text")
    return found


def integer_in(record: JsonObject, name: str) -> int:
    """A field that must be an integer; a boolean is not accepted. Raises Malformed."""
    return as_integer(field_in(record, name), name)


def integers_in(record: JsonObject, name: str) -> list[int]:
    """A field that must be a list of integers. Raises Malformed."""
    return [as_integer(one, f"an entry of {name}") for one in list_in(record, name)]


def as_integer(value: object, name: str) -> int:
    """The value, which must be an integer. Raises Malformed."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{name} is not an integer")
    return value


def number_in(record: JsonObject, name: str) -> float:
    """A field that must be a finite number. Raises Malformed."""
    return as_number(field_in(record, name), name)


def numbers_in(record: JsonObject, name: str) -> list[float]:
    """A field that must be a list of finite numbers. Raises Malformed."""
    return [as_number(one, f"an entry of {name}") for one in list_in(record, name)]


def as_number(value: object, name: str) -> float:
    """The value, which must be a finite number. Raises Malformed."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return value
    except OverflowError:  # an integer that is too large for a float
        pass
    raise Malformed(f"{name} is not a finite number")


def flag_in(record: JsonObject, name: str) -> bool:
    """A field that must be true or false. Raises Malformed."""
    found = field_in(record, name)
    if not isinstance(found, bool):
        raise Malformed(f"{name} is neither true nor false")
    return found


def field_in(record: JsonObject, name: str) -> Json:
    """A field, whatever it holds. Raises Malformed when it is missing."""
    if name not in record:
        raise Malformed(f"{name} is missing")
    return record[name]


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite_float(text: str) -> float:
    """Rejects 1e999, which Python would read as infinity and could not write as JSON again."""
    found = float(text)
    if math.isinf(found):
        raise ValueError(text)
    return found
