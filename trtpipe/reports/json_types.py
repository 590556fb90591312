"""Maps type annotations to JSON: how a value of the type is read, and its JSON Schema.

Supported are str, bool, int, float, literals, None, unions of these, tuples, mappings with str keys, `object` for any
JSON, and records. In `Annotated`, a text is the description that the schema prints, and `AtLeast` a bound. Reading and
describing are side by side, so that the reader accepts exactly what the schema allows.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Literal, Union, get_args, get_origin

from trtpipe.json_values import Json, Malformed, as_number, as_object

Definitions = dict[str, Json]
"""Name -> schema: what schemas refer to by name."""
Schema = dict[str, Json]


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A bound of an integer."""

    least: int


@dataclass(frozen=True, slots=True)
class JsonType:
    """A set of JSON values."""

    read: Callable[[object, str], object]
    """Takes a value and its name; gives the value as records hold it, or raises Malformed."""
    schema: Callable[[Definitions], Schema]
    """Gives the JSON Schema; what that refers to by name is put among the definitions."""


def json_type(annotation: object) -> JsonType:
    """The JSON values that an annotation allows."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    own = getattr(annotation, "json_type", None)
    if own is not None:
        found = own()
        assert isinstance(found, JsonType)
        return found
    return _COMPOSED[get_origin(annotation)](get_args(annotation))


def _plain(words: str, name: str, *python: type) -> JsonType:
    def read(value: object, called: str) -> object:
        if not isinstance(value, python) or (isinstance(value, bool) and bool not in python):
            raise Malformed(f"{called} is not {words}")
        return value

    return JsonType(read, lambda _: {"type": name})


_PLAIN: Mapping[object, JsonType] = {
    str: _plain("a text", "string", str),
    bool: _plain("true or false", "boolean", bool),
    int: _plain("an integer", "integer", int),
    # an integer is accepted for a float and stays an integer
    float: JsonType(as_number, lambda _: {"type": "number"}),
    types.NoneType: _plain("null", "null", types.NoneType),
    object: JsonType(lambda value, _: value, lambda _: {}),
}


def _annotated(arguments: tuple[object, ...]) -> JsonType:
    inner = json_type(arguments[0])
    more: Schema = {}
    least: int | None = None
    for one in arguments[1:]:
        if isinstance(one, str):
            more["description"] = one
        elif isinstance(one, AtLeast):
            more["minimum"] = least = one.least

    def read(value: object, name: str) -> object:
        found = inner.read(value, name)
        if least is not None and isinstance(found, int) and found < least:
            raise Malformed(f"{name} is less than {least}")
        return found

    return JsonType(read, lambda definitions: {**inner.schema(definitions), **more})


def _literal(choices: tuple[object, ...]) -> JsonType:
    listed = ", ".join(map(str, choices))
    plain: list[Json] = [one for one in choices if isinstance(one, (str, int))]

    def read(value: object, name: str) -> object:
        if value not in choices or isinstance(value, bool):
            raise Malformed(f"{name} is not {'one of ' if len(choices) > 1 else ''}{listed}")
        return value

    return JsonType(read, lambda _: {"const": plain[0]} if len(plain) == 1 else {"enum": plain})


def _union(members: tuple[object, ...]) -> JsonType:
    kinds = [json_type(one) for one in members]
    some = [kind for kind in kinds if kind is not _PLAIN[types.NoneType]]

    def read(value: object, name: str) -> object:
        if value is None and len(some) < len(kinds):
            return None
        if len(some) == 1:
            return some[0].read(value, name)
        for kind in some:
            with suppress(Malformed):
                return kind.read(value, name)
        raise Malformed(f"{name} is of a type that it cannot have")

    return JsonType(read, lambda definitions: _any_of([kind.schema(definitions) for kind in kinds]))


def _any_of(schemas: list[Schema]) -> Schema:
    if all(one.keys() == {"type"} for one in schemas):
        return {"type": [one["type"] for one in schemas]}
    return {"anyOf": schemas}


def _tuple(arguments: tuple[object, ...]) -> JsonType:
    """`tuple[X, ...]`, a list of any length, or `tuple[X, X]`, a list of two."""
    inner = json_type(arguments[0])
    size = None if arguments[-1] is Ellipsis else len(arguments)
    assert size is None or len(set(arguments)) == 1, "lists hold values of one type"

    def read(value: object, name: str) -> object:
        if not isinstance(value, (list, tuple)):
            raise Malformed(f"{name} is not a list")
        if size is not None and len(value) != size:
            raise Malformed(f"{name} does not have {size} entries")
        return tuple(inner.read(one, f"{name}[{index}]") for index, one in enumerate(value))

    def schema(definitions: Definitions) -> Schema:
        bounds: Schema = {} if size is None else {"minItems": size, "maxItems": size}
        return {"type": "array", "items": inner.schema(definitions), **bounds}

    return JsonType(read, schema)


def _mapping(arguments: tuple[object, ...]) -> JsonType:
    assert arguments[0] is str, "keys of JSON objects are texts"
    inner = json_type(arguments[1])

    def read(value: object, name: str) -> object:
        return {key: inner.read(one, inside(name, key)) for key, one in as_object(value, name).items()}

    return JsonType(
        read, lambda definitions: {"type": "object", "additionalProperties": inner.schema(definitions)}
    )


def inside(name: str, key: str) -> str:
    """The path of a field as messages show it: `cell.engine.bytes`."""
    return f"{name}.{key}" if name else key


def described(description: str, properties: Mapping[str, Schema], required: Iterable[str]) -> Schema:
    """The schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_COMPOSED: Mapping[object, Callable[[tuple[object, ...]], JsonType]] = {
    Annotated: _annotated,
    Literal: _literal,
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple,
    Mapping: _mapping,
}
