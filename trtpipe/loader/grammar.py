"""The grammar of the spec language, derived from its models: valid keys at each place, examples, and names.

Works on the models' fields and annotations; independent of files and of validation.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from trtpipe.errors import Problem, SpecPath
from trtpipe.loader.examples import EXAMPLES, LAYER_EXAMPLES
from trtpipe.loader.plain import Yaml

LISTED_NAMES = 20
"""A remedy lists at most this many names."""


class AnyOptions(BaseModel):
    """Options of an unknown parser; everything is accepted."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class Parser:
    """The options that a spec may give for a model of some format."""

    options: type[BaseModel]
    needs_source: bool = True
    takes_directory: bool = False


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names from plug-ins that a spec may use, and their options."""

    parsers: tuple[str, ...]
    precisions: tuple[str, ...]
    parser: Callable[[str], Parser] = lambda _: Parser(AnyOptions)
    """A parser by name; what knows its options is imported only when it is asked for."""
    calibrators: tuple[str, ...] = ("trtpipe",)
    methods: Callable[[str], tuple[str, ...]] = lambda _: ()
    """The methods that a calibrator has."""
    needs_calibration: Callable[[str], bool] = lambda _: False
    """Whether a precision takes scales."""
    misfits: Callable[[str, object, object], Iterable[Problem]] = lambda *_: ()
    """What a variant of a precision cannot have as `base` and `block_size`, by their paths in the variant."""
    has_blocks: Callable[[str], bool] = lambda _: False
    """Whether a precision quantizes in blocks."""
    computes_in_half: Callable[[str], bool] = lambda _: False
    """Whether a precision computes in float16 what it does not quantize, unless a variant's `base` says otherwise."""


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a mapping, in the order of the model's fields."""
    return tuple(info.alias or name for name, info in model.model_fields.items())


def model_at(model: type[BaseModel], path: SpecPath, data: object = None) -> type[BaseModel] | None:
    """The model of the mapping at a path below `model`; None where any keys are allowed, or no mapping.

    `data` is the document's value, whose tag selects the model of a union.
    """
    return next(_models(annotation_at(model, path, data)), None)


def annotation_at(model: type[BaseModel], path: SpecPath, data: object = None) -> object:
    """The annotation of the value at a path below `model`; Any if the path is not in the grammar."""
    current: object = model
    for step in path:
        current = next((inner for one in members_of(current) for inner in inside(one, step)), Any)
        data = item_of(data, step)
        current = told_apart(current, data)
    return current


def item_of(data: object, step: str | int) -> object:
    """The value under a key or an index; None if there is none."""
    if isinstance(data, dict):
        return data.get(step)
    return data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None


def tag_of(annotation: object) -> str | None:
    """The key that discriminates the models of a union, such as `layer`; None for any other annotation."""
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    tags = [one.discriminator for one in marks if isinstance(one, FieldInfo)]
    return next((tag for tag in tags if isinstance(tag, str)), None)


def told_apart(annotation: object, data: object) -> object:
    """The model of a union that the data's tag selects; the annotation itself if there is no tag."""
    tag = tag_of(annotation)
    if tag is not None and isinstance(data, dict):
        for one in _models(annotation):
            if data.get(tag) in literals_of(one.model_fields[tag].annotation):
                return one
    return annotation


def tags_of(annotation: object) -> tuple[str, ...]:
    """The tags of a union's models: the kinds of layers, sorted."""
    tag = tag_of(annotation)
    if tag is None:
        return ()
    found = (value for one in _models(annotation) for value in literals_of(one.model_fields[tag].annotation))
    return tuple(sorted(map(str, found)))


def literals_of(annotation: object) -> tuple[object, ...]:
    """The values that an annotation's literals allow."""
    return tuple(
        value for one in members_of(annotation) if get_origin(one) is Literal for value in get_args(one)
    )


def example_of(model: type[BaseModel] | None, key: str) -> Yaml:
    """An example of the value of a key, or None."""
    if model is None:
        return None
    example = examples_of(model).get(key)
    if example is not None:
        return example
    info = next((info for name, info in model.model_fields.items() if (info.alias or name) == key), None)
    return info.default if info is not None and isinstance(info.default, (str, int, float)) else None


def examples_of(model: type[BaseModel]) -> Mapping[str, Yaml]:
    """Key → an example of its value; a declared layer's keys mean the same in every layer."""
    known = EXAMPLES.get(model.__name__)
    return known if known is not None else LAYER_EXAMPLES if "layer" in model.model_fields else {}


def members_of(annotation: object) -> Iterator[object]:
    """The alternatives of an annotation, without pydantic's metadata."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members_of(get_args(annotation)[0])
    elif origin is Union or origin is types.UnionType:
        for one in get_args(annotation):
            yield from members_of(one)
    else:
        yield annotation


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Every model in an annotation, at any depth of lists, mappings and unions."""
    for one in members_of(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            yield one
        for inner in get_args(one) if get_origin(one) is not Literal else ():
            yield from models_in(inner)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    return (one for one in members_of(annotation) if isinstance(one, type) and issubclass(one, BaseModel))


def inside(annotation: object, step: str | int) -> Iterator[object]:
    """The annotations of the value under a key or an index of a value with this annotation."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            if (info.alias or name) == step:
                yield info.annotation
    elif origin is dict:
        yield get_args(annotation)[1]
    elif origin in (tuple, list):
        yield get_args(annotation)[0]


def choose_from(name: object, valid: Iterable[str], noun: str) -> str:
    """The remedy for a wrong name: the nearest valid one, and all of them (`valid keys: …`)."""
    names = list(valid)
    near = nearest(name, names)
    choices = f"valid {noun}: {listed(names)}" if names else f"there are no {noun}"
    return f"did you mean {near!r}? {choices}" if near else choices


def listed(names: Sequence[str]) -> str:
    """Names as a list, at most LISTED_NAMES of them."""
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    return ", ".join(names[:LISTED_NAMES]) + more


def nearest(name: object, valid: Iterable[str]) -> str | None:
    """The valid name most similar to `name` or starting with it, ignoring case; None if none is similar."""
    if not isinstance(name, str):
        return None
    by_lower = {one.lower(): one for one in valid}
    wanted = name[:100].lower()
    near = get_close_matches(wanted, by_lower, n=1) or [
        one for one in by_lower if wanted and one.startswith(wanted)
    ]
    return by_lower[near[0]] if near else None
