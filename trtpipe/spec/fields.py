"""Field types of the spec language: shapes, sizes, names, globs, and the frozen model they stand in.

Knows how a value is written and what it means; knows nothing of YAML marks or files.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from trtpipe.shapes import parse_shape, parse_size

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class SpecModel(BaseModel):
    """A strict, frozen piece of a spec: unknown keys are errors, text is never taken for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


def _static_shape(value: Any) -> tuple[int, ...]:
    shape = parse_shape(value)
    if any(dim < 0 for dim in shape):
        raise ValueError("a dimension must be 0 or more here")
    return shape


def _name(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(_NAME, value):
        raise ValueError(
            f"not a name: {value!r}; use letters, digits, '.', '_' and '-', starting with a letter or digit"
        )
    return value


_SHAPE_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^(scalar|-?\d+(x-?\d+)*)$"},
        {"type": "array", "items": {"type": "integer", "minimum": -1}},
        {"type": "integer", "minimum": 0},
    ],
    "examples": ["1x3x224x224"],
}
_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([KMGTkmgt]i?)?[Bb]?$"},
        {"type": "integer", "minimum": 0},
    ],
    "examples": ["2GiB"],
}

StaticShape = Annotated[tuple[int, ...], BeforeValidator(_static_shape), WithJsonSchema(_SHAPE_SCHEMA)]
"""`1x3x224x224` or `[1, 3, 224, 224]`; every dimension 0 or more."""

DynamicShape = Annotated[tuple[int, ...], BeforeValidator(parse_shape), WithJsonSchema(_SHAPE_SCHEMA)]
"""The same, where -1 is a dynamic dimension."""

Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
"""Bytes, written `2GiB`, `512MB` or as a number."""

Name = Annotated[str, BeforeValidator(_name), Field(json_schema_extra={"pattern": _NAME})]
"""A name that is safe in a cell's address and in a path."""


def _tuple_of(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _one_or_many(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, tuple) else (value,)


AsTuple = BeforeValidator(_tuple_of)
"""Lists become tuples: a frozen spec holds nothing that can change."""

OneOrMany = BeforeValidator(_one_or_many)
"""One value or a list of them."""
