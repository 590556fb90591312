"""What all declared layers share: how a spec writes tensors, weights and dims, and the base class of a layer.

Only how values are written is defined here; `layers/` converts them to ONNX. Imports neither onnx nor numpy.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator

from trtpipe.errors import SpecPath, WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, SpecModel

DType = Literal[
    "float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool", "fp8", "int4", "fp4",
]  # fmt: skip
"""TensorRT's data types, as its Python module names them."""

FloatType = Literal["float32", "float16", "bfloat16"]
IndexType = Literal["int32", "int64"]
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class _Mark:
    """Marks a text field with the kind of thing that it names."""

    names: Literal["tensor", "weights"]


_TENSOR = _Mark("tensor")
_WEIGHTS = _Mark("weights")


def _frozen_constant(value: object, depth: int = 0) -> object:
    if depth > _DEEPEST:
        raise WrongValue(
            Code.TOO_DEEP, f"nested deeper than {_DEEPEST} lists; TensorRT has no tensors of more dimensions"
        )
    if isinstance(value, (list, tuple)):
        return tuple(_frozen_constant(item, depth + 1) for item in value)
    if not isinstance(value, (bool, int, float)):
        raise WrongValue(
            Code.WRONG_FORM, "not a constant; write a number, true or false, or a (nested) list of them"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise WrongValue(Code.NOT_A_NUMBER, f"{value} is not a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise WrongValue(Code.NOT_A_NUMBER, f"{value} does not fit 64 bits")
    return value


def _name_or_constant(value: object) -> object:
    return _text(value) if isinstance(value, str) else _frozen_constant(value)


def _text(value: str) -> str:
    if not value:
        raise WrongValue(Code.WRONG_LENGTH, "an empty name; write the name of a tensor")
    return value


def _name_or_whole_numbers(value: object) -> object:
    if isinstance(value, str):
        return _text(value)
    items = value if isinstance(value, (list, tuple)) else None
    if items is None or any(type(item) is not int or not -(2**63) <= item < 2**63 for item in items):
        raise WrongValue(
            Code.WRONG_FORM,
            "not a list of dims; write a list of whole numbers, for example [1, 2], or a tensor's name",
        )
    return tuple(items)


def _name_or_whole_number(value: object) -> object:
    if isinstance(value, str):
        return _text(value)
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise WrongValue(
            Code.WRONG_FORM, "not a whole number; write one, or the name of a tensor that holds one"
        )
    return value


def between(least: int, most: int | None = None) -> object:
    """Bounds a list's length. After AsTuple, so that a list with invalid items is not called too short as well."""
    bounds = {"minItems": least} | ({} if most is None else {"maxItems": most})
    return Field(min_length=least, max_length=most, json_schema_extra=dict(bounds))


_ITEMS = {"type": ["number", "boolean", "array"]}
_CONSTANT = {"type": ["string", "number", "boolean", "array"], "items": _ITEMS}
_DIMS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}
_COUNT = {"type": ["string", "integer"]}

TensorName = Annotated[str, Field(min_length=1), _TENSOR]
"""The name of a graph input or of an earlier layer's output."""

Operand = Annotated[Any, BeforeValidator(_name_or_constant), WithJsonSchema(_CONSTANT), _TENSOR]
"""A tensor's name, or an inline constant: a number, or a (nested) list of numbers."""

WeightRef = Annotated[Any, BeforeValidator(_name_or_constant), WithJsonSchema(_CONSTANT), _WEIGHTS]
"""The name of a tensor in the weights files (`NAME:tensor` where files are named), or an inline constant."""

TensorOrDims = Annotated[Any, BeforeValidator(_name_or_whole_numbers), WithJsonSchema(_DIMS), _TENSOR]
"""A list of whole numbers, or the name of a 1-D integer tensor."""

TensorOrInt = Annotated[Any, BeforeValidator(_name_or_whole_number), WithJsonSchema(_COUNT), _TENSOR]
"""A whole number, or the name of an integer tensor that holds one."""

Ints = Annotated[tuple[int, ...], AsTuple]
"""A list of whole numbers, one per axis."""

Axes = Annotated[tuple[int, ...], AsTuple, between(1)]
"""A list of axes; negative ones count from the end."""

OneAxis = Annotated[tuple[int, ...], AsTuple, between(1, 1)]
"""One axis, in a list."""

Sizes = Annotated[tuple[Annotated[int, Field(ge=1)], ...], AsTuple, between(1)]
"""A list of sizes of 1 or more, one per spatial axis."""

Window = Annotated[tuple[Annotated[int, Field(ge=1)], ...], AsTuple, between(1, 3)]
"""The sizes of a window over one to three spatial axes."""

Pads = Annotated[tuple[Annotated[int, Field(ge=0)], ...], AsTuple]
"""A list of sizes of 0 or more, one per spatial axis."""

Operands = Annotated[tuple[Operand, ...], AsTuple, between(1)]
"""Tensors' names or inline constants, in TensorRT's order of inputs."""

PaddingMode = Literal["explicit_round_down", "explicit_round_up", "same_upper", "same_lower"]
"""TensorRT's PaddingMode."""


class Declared(SpecModel):
    """What every declared layer has."""

    name: Annotated[str, Field(min_length=1)]
    """The layer's name, and its first output's."""

    @property
    def kind(self) -> str:
        """The layer's kind: `convolution`."""
        return str(getattr(self, "layer"))  # noqa: B009  every subclass has it, as a literal of its own

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the tensors that the layer yields."""
        return (self.name,)


class Layer(Declared):
    """A layer of TensorRT's own.

    Its first output has the layer's name, the second is `name:1`, unless `outputs` names them.
    """

    output_count: ClassVar[int] = 1
    """The number of the layer's outputs."""

    outputs: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], AsTuple] = ()
    """Other names for the layer's outputs, in order."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the tensors that the layer yields."""
        default = (self.name, *(f"{self.name}:{index}" for index in range(1, self.output_count)))
        return (*self.outputs, *default[len(self.outputs) :])

    @model_validator(mode="after")
    def _outputs_that_it_has(self) -> Layer:
        if len(self.outputs) > self.output_count:
            has = "one output" if self.output_count == 1 else f"{self.output_count} outputs"
            raise WrongValue(
                Code.LAYER_KEYS,
                f"layer {self.name!r} names {len(self.outputs)} outputs; a {self.kind} layer has {has}",
            )
        return self


class OneInput(Layer):
    """A layer with one input, which defaults to the previous layer's output."""

    input: TensorName | None = None
    """The input tensor; default: the first output of the previous layer, or the only graph input."""


class ManyInputs(Layer):
    """A layer of several inputs."""

    inputs: Operands
    """The inputs: tensors' names or inline constants."""


def tensors_of(layer: BaseModel) -> Iterator[tuple[SpecPath, str]]:
    """Every tensor that a layer reads by name, and its place in the layer: `("inputs", 0)`."""
    return _named(layer, "tensor")


def weights_of(layer: BaseModel) -> Iterator[tuple[SpecPath, str]]:
    """Every tensor of the weights files that a layer names, and its place in the layer: `("kernel",)`."""
    return _named(layer, "weights")


def _named(model: BaseModel, names: str) -> Iterator[tuple[SpecPath, str]]:
    for field, alias, annotation, marked in _fields_with(type(model), names):
        for path, text in _within(annotation, getattr(model, field), names, marked):
            yield (alias, *path), text


@cache
def _fields_with(model: type[BaseModel], names: str) -> tuple[tuple[str, str, object, bool], ...]:
    """The fields of a layer that may contain names of this kind: field, alias, type, whether all texts are names."""
    return tuple(
        (field, info.alias or field, info.annotation, _marks(info.metadata, names))
        for field, info in model.model_fields.items()
        if _marks(info.metadata, names) or _holds(info.annotation, names)
    )


def _holds(annotation: object, names: str) -> bool:
    """Whether a value of this type may contain names of this kind."""
    arguments = get_args(annotation)
    marked = get_origin(annotation) is Annotated and _marks(arguments[1:], names)
    return marked or any(_holds(one, names) for one in arguments)


def _marks(metadata: Iterable[object], names: str) -> bool:
    return any(isinstance(one, _Mark) and one.names == names for one in metadata)


def _within(annotation: object, value: object, names: str, marked: bool) -> Iterator[tuple[SpecPath, str]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _within(arguments[0], value, names, marked or _marks(arguments[1:], names))
    elif origin is Union or origin is types.UnionType:
        yield from dict(hit for one in arguments for hit in _within(one, value, names, marked)).items()
    elif isinstance(value, str):
        if marked:
            yield (), value
    elif origin is tuple and isinstance(value, tuple):
        for index, item in enumerate(value):
            for path, text in _within(arguments[0], item, names, marked):
                yield (index, *path), text
