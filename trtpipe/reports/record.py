"""Records that are JSON objects: frozen dataclasses whose annotations define how they are written, read and described.

A field's key in JSON is its name without an underscore at the end (`from_` is `from`), or what its metadata call `key`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TypeVar, get_type_hints

from trtpipe.json_values import Json, Malformed, as_object
from trtpipe.reports.json_types import Definitions, JsonType, Schema, described, inside, json_type

R = TypeVar("R", bound="Record")


class Record:
    """The base of all records."""

    __slots__ = ()

    def to_json(self) -> dict[str, Json]:
        """The record as a JSON object, its keys in the order of the fields."""
        return {key: _plain(getattr(self, name)) for key, name in _names(type(self)).items()}

    @classmethod
    def read(cls: type[R], value: object, name: str = "") -> R:
        """The record that a JSON object holds; raises Malformed when a field is missing, unknown or of another type."""
        found = as_object(value, name or "the document")
        kinds = _types(cls)
        for key in found.keys() | kinds.keys():
            if key not in found:
                raise Malformed(f"{inside(name, key)} is missing")
            if key not in kinds:
                raise Malformed(f"{inside(name, key)} is unknown")
        names = _names(cls)
        values = {names[key]: kind.read(found[key], inside(name, key)) for key, kind in kinds.items()}
        return cls(**values)

    @classmethod
    def json_type(cls) -> JsonType:
        """The JSON objects that are such a record; the schema refers to it by the class's name."""
        return JsonType(cls.read, cls._schema)

    @classmethod
    def _schema(cls, definitions: Definitions) -> Schema:
        if cls.__name__ not in definitions:
            # reserves the position, so that outer records come before inner ones
            definitions[cls.__name__] = {}
            properties = {key: kind.schema(definitions) for key, kind in _types(cls).items()}
            definitions[cls.__name__] = described(cls.__doc__ or "", properties, properties)
        return {"$ref": f"#/$defs/{cls.__name__}"}


_NAMES: dict[type[Record], Mapping[str, str]] = {}
_TYPES: dict[type[Record], Mapping[str, JsonType]] = {}


def line_of(record: Record) -> str:
    """The record on one line of JSON."""
    return _ENCODER.encode(record)


def lines_of(records: Iterable[Record]) -> str:
    """Records of a list, each on a line."""
    return ",\n  ".join(map(line_of, records))


def record_text(record: Record, lists: Mapping[str, str] | None = None) -> str:
    """The record as JSON: a line for each field, and one for each record of a list, so that lines can be compared.

    No line is indented further, because Python indents ten times slower than it writes. `lists` are fields whose lines
    are made already.
    """
    lines = []
    for key, name in _names(type(record)).items():
        value, known = getattr(record, name), (lists or {}).get(name)
        if known or (isinstance(value, tuple) and value and isinstance(value[0], Record)):
            shown = f"[\n  {known or lines_of(value)}\n ]"
        else:
            shown = _ENCODER.encode(value)
        lines.append(f" {_ENCODER.encode(key)}: {shown}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _plain_once(value: object) -> object:
    """What JSON has for a value that it lacks; values inside are asked for in turn."""
    if isinstance(value, Record):
        return {key: getattr(value, name) for key, name in _names(type(value)).items()}
    assert isinstance(value, Mapping), f"{type(value)} is not JSON"
    return dict(value)


_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, default=_plain_once)


def _names(record: type[Record]) -> Mapping[str, str]:
    """Key in JSON -> name of the field."""
    if record not in _NAMES:
        assert is_dataclass(record)
        own = fields(record)
        _NAMES[record] = {str(one.metadata.get("key", one.name.rstrip("_"))): one.name for one in own}
    return _NAMES[record]


def _types(record: type[Record]) -> Mapping[str, JsonType]:
    """Key in JSON -> what it may hold."""
    if record not in _TYPES:
        hints = get_type_hints(record, include_extras=True)
        _TYPES[record] = {key: json_type(hints[name]) for key, name in _names(record).items()}
    return _TYPES[record]


def _plain(value: object) -> Json:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    assert value is None or isinstance(value, (str, bool, int, float)), f"{type(value)} is not JSON"
    return value
