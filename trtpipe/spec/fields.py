"""Field types of the spec language (shapes, sizes, names, globs) and the frozen base model that uses them.

Parses and validates single values; positions in the YAML and files are handled in `loader/`.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function, no_info_wrap_validator_function

from trtpipe.errors import SpecPath, WrongValue
from trtpipe.problem_codes import Code
from trtpipe.shapes import LARGEST_DIM, parse_shape, parse_size

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

SHA256_PATTERN = r"^[0-9a-fA-F]{64}$"
_LONGEST_NAME = 64
_NAME = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST_NAME - 1}}}$"


class SpecModel(BaseModel):
    """A strict, frozen piece of a spec: unknown keys are errors, text is never converted to a number.

    The docstring under a field is its description in the JSON Schema, which reads it from the source: collecting
    them with pydantic would make every start of the program as slow again as importing pydantic does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _static_shape(value: object) -> tuple[int, ...]:
    shape = parse_shape(value)
    if any(dim < 0 for dim in shape):
        raise WrongValue(Code.NOT_A_SHAPE, "a dimension must be 0 or more here; give a size for each -1")
    return shape


def _name(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(_NAME, value):
        shown = f"{value[:_LONGEST_NAME]}…" if len(value) > _LONGEST_NAME else value
        raise WrongValue(
            Code.NOT_A_NAME,
            f"not a name: {shown!r}; use up to {_LONGEST_NAME} letters, digits, '.', '_' and '-', starting with a "
            "letter or digit",
        )
    return value


def _shape_schema(least: int, dim: str, example: str) -> dict[str, list[object]]:
    size = {"type": "integer", "minimum": least, "maximum": LARGEST_DIM}
    return {
        "anyOf": [
            {"type": "string", "pattern": f"^(scalar|{dim}(x{dim})*)$"},
            {"type": "array", "items": size},
            size,
        ],
        "examples": [example],
    }


STATIC_SHAPE_SCHEMA = _shape_schema(0, "[0-9]+", "1x3x224x224")
_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([KMGTkmgt]i?)?[Bb]?$"},
        {"type": "integer", "minimum": 0},
    ],
    "examples": ["2GiB"],
}


def _schema_version(value: object) -> object:
    if type(value) is not int or value != 1:
        raise WrongValue(Code.UNKNOWN_VALUE, "schema must be 1; write schema: 1")
    return value


SchemaVersion = Annotated[Literal[1], BeforeValidator(_schema_version)]
"""The version of the spec language; `true` and `1.0` are not 1 here."""

Number = Annotated[float, Field(allow_inf_nan=False)]
"""A finite number; whole numbers are fine."""

StaticShape = Annotated[tuple[int, ...], BeforeValidator(_static_shape), WithJsonSchema(STATIC_SHAPE_SCHEMA)]
"""`1x3x224x224` or `[1, 3, 224, 224]`; every dimension 0 or more."""

DynamicShape = Annotated[
    tuple[int, ...],
    BeforeValidator(parse_shape),
    WithJsonSchema(_shape_schema(-1, "(-1|[0-9]+)", "-1x3x-1x-1")),
]
"""The same, with -1 for dynamic dimensions."""

Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
"""A size in bytes: `2GiB`, `512MB`, or a number."""

Name = Annotated[str, BeforeValidator(_name), Field(json_schema_extra={"pattern": _NAME})]
"""A name that is safe in a cell's address and in a path."""

Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
"""A SHA-256 in hexadecimal digits."""


def _tuple_of(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _one_or_many(value: object) -> object:
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, tuple) else (value,)


class _OneOrMany:
    """Marks a tuple field that may be written as one value; its JSON Schema says so."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(_one_or_many, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


class OneShapeOr:
    """Says in the JSON Schema that one shape may stand where a mapping of shapes is expected."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [*STATIC_SHAPE_SCHEMA["anyOf"], handler(schema)]}


class NameOr:
    """Says in the JSON Schema that a name, or a value of `others`, may stand where a mapping is expected."""

    def __init__(self, *others: str) -> None:
        self.others = others

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        forms = [{"type": one} for one in ("string", *self.others)]
        return {"anyOf": [*forms, handler(schema)]}


class TrueOr:
    """Says in the JSON Schema that `true` or `false` may stand where a mapping is expected."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "boolean"}, handler(schema)]}


AsTuple = BeforeValidator(_tuple_of)
"""Lists become tuples: a frozen spec holds nothing that can change."""

OneOrMany = _OneOrMany()
"""One value or a list of them."""


class PinnedText(str):
    """Text that names a file, with the SHA-256 that the file must have."""

    __slots__ = ("sha256",)

    sha256: str

    def __new__(cls, text: str, sha256: str) -> PinnedText:
        """The text, and the digest in lower case."""
        made = super().__new__(cls, text)
        made.sha256 = sha256.lower()
        return made


def _file_text(value: object, plain: Callable[[object], str]) -> str:
    if isinstance(value, PinnedText):
        return value
    if not isinstance(value, dict):
        return plain(value)
    if not set(value) <= {"source", "sha256"} or "source" not in value:
        raise WrongValue(
            Code.KEY_NEEDED,
            "no file is given; write its path or address, or {source: ADDRESS, sha256: 4c3f…}",
        )
    source, sha256 = value["source"], value.get("sha256")
    if not isinstance(source, str):
        raise WrongValue(Code.WRONG_TYPE, "'source' must be text; write the file's path or address in quotes")
    if sha256 is None:
        return source
    if not isinstance(sha256, str) or not re.fullmatch(SHA256_PATTERN, sha256):
        raise WrongValue(Code.WRONG_FORM, "'sha256' is not a SHA-256; write its 64 hexadecimal digits")
    return PinnedText(source, sha256)


@dataclass(frozen=True, slots=True)
class _FileMark:
    """Marks text that names a file, as `model.source` does; with its pin it is written as a mapping."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_wrap_validator_function(_file_text, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        pinned = {
            "type": "object",
            "properties": {
                "source": {"type": "string"},
                "sha256": {"type": "string", "pattern": SHA256_PATTERN},
            },
            "required": ["source"],
            "additionalProperties": False,
        }
        return {"anyOf": [handler(schema), pinned]}


ProjectFile = Annotated[str, _FileMark()]
"""A path inside the project, `pkg://PACKAGE/PATH`, or another form of `model.source`; or, with a pinned SHA-256,
`{source: …, sha256: …}`, which is read as a PinnedText."""


def named_files(model: BaseModel) -> Iterator[tuple[SpecPath, str]]:
    """Every ProjectFile in a model and in what it holds: its place, and the text that names the file."""
    for name, info in type(model).model_fields.items():
        marked = any(isinstance(one, _FileMark) for one in info.metadata)
        for path, text in _files_in(info.annotation, getattr(model, name), marked):
            yield (info.alias or name, *path), text


def _files_in(annotation: object, value: object, marked: bool = False) -> Iterator[tuple[SpecPath, str]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _files_in(
            arguments[0], value, marked or any(isinstance(a, _FileMark) for a in arguments[1:])
        )
    elif isinstance(value, BaseModel):
        yield from named_files(value)
    elif origin is Union or origin is types.UnionType:
        yield from dict(hit for one in arguments for hit in _files_in(one, value, marked)).items()
    elif isinstance(value, str) and marked:
        yield (), value
    elif origin is dict and isinstance(value, dict):
        yield from _files_under(arguments[1], value.items(), marked)
    elif origin in (tuple, list) and isinstance(value, (tuple, list)):
        yield from _files_under(arguments[0], enumerate(value), marked)


def _files_under(
    annotation: object, items: Iterable[tuple[str | int, object]], marked: bool
) -> Iterator[tuple[SpecPath, str]]:
    for step, item in items:
        for path, text in _files_in(annotation, item, marked):
            yield (step, *path), text


def _borders(value: object) -> object:
    """A single word applies to every input and output."""
    return {"*": value} if isinstance(value, str) else value


BorderChoice = Literal["keep", "convert"]
Borders = Annotated[
    dict[str, BorderChoice],
    BeforeValidator(_borders),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["keep", "convert"]},
                {"type": "object", "additionalProperties": {"enum": ["keep", "convert"]}},
            ],
            "examples": ["convert", {"*": "convert", "logits": "keep"}],
        }
    ),
]
"""How the types of inputs and outputs are handled."""
