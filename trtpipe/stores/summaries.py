"""The fields that the summary of a stage's trace must have, because readers of traces use them without checking.

A shape describes a kind of value: a type, a number, a list or mapping of one shape, or a record of fields. Additional
fields are allowed and may hold anything. Only traces made by the current versions of the stages are checked, because
others are only read for their fingerprint, to explain what changed.

Works on values only, independent of files, keys and digests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from trtpipe.json_values import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Each:
    """An object whose fields, whatever their names, all have one shape; or a list of such values if `listed`."""

    shape: Shape
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """A list of two values."""

    first: Shape
    second: Shape


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with at least these fields; those of `perhaps` may be missing."""

    fields: Mapping[str, Shape] = field(default_factory=dict)
    perhaps: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OneOf:
    """A value that has one of several shapes."""

    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """One of these strings."""

    words: tuple[str, ...]


NUMBER = float
"""In a shape: any finite number, also an integer."""
NOTHING = type(None)
_LARGEST = 1 << 63
"""Limit for integers: Python reads any size, but floats and other readers cannot hold larger ones."""
Shape: TypeAlias = type | Each | Pair | Fields | OneOf | Words


def many(shape: Shape) -> Each:
    """A list of values of one shape."""
    return Each(shape, listed=True)


def maybe(*shapes: Shape) -> OneOf:
    """A value of one of these shapes, or null."""
    return OneOf((*shapes, NOTHING))


_NOT_FINITE = Words(("inf", "-inf", "nan"))
_METRIC = maybe(NUMBER, _NOT_FINITE)
_METRICS = Fields(
    {
        "metrics": Each(_METRIC),
        "not_applicable": Each(str),
        "elements": int,
        "differing": int,
        "nonfinite": Each(int),
        "reference_accuracy": _METRIC,
        "largest": _METRIC,
        "where_max_abs": many(int),
    }
)
_NOT_RUN = many(Fields({"name": str, "why": str}))
_MEASURED = Fields(
    {
        "places": many(
            Fields({"place": str, "kind": str, "outputs": Each(_METRICS)}, {"samples": maybe(int)})
        ),
        "twins": Each(str),
    },
    {"recorded": int, "not_run": _NOT_RUN, "nonfinite": many(dict)},
)
_COMPARED = Fields(
    {
        "node": maybe(str),
        "error": OneOf((NUMBER, _NOT_FINITE)),
        "bound": OneOf((NUMBER, _NOT_FINITE)),
        "unequal": int,
        "misfit": str,
        "departs": bool,
    },
    {"metrics": maybe(_METRICS)},
)
_QUANTIZED = Fields(
    {"tensor": str, "node": maybe(str), "steps": maybe(NUMBER, str), "misfit": bool, "departs": bool}
)
_READ_BACK = Fields(
    {
        "places": many(
            Fields({"place": str, "kind": str, "outputs": Each(_COMPARED), "quantized": many(_QUANTIZED)})
        ),
        "twins": Each(str),
        "outputs": many(str),
        "not_run": _NOT_RUN,
    },
    {"first": maybe(Fields({"tensor": str, "node": maybe(str), "op": str}))},
)
_WHEEL = Fields({"name": str, "version": str}, {"file": str, "sha256": maybe(str), "contents": maybe(str)})
_WARNING = Fields({"kind": str, "name": str, "message": str, "meaning": str, "count": int})
_MISFIT = Fields({"what": str, "name": str, "why": str, "node": maybe(str)})
_FETCHED = Fields({"url": str}, {"pinned": bool, "sha256": str, "commit": maybe(str), "version": maybe(str)})
_CHOICE = Fields({"precision": str, "base": maybe(str), "keep": Each(many(str))})
_SUMMARIES: Mapping[str, Fields] = {
    "fetch": Fields({"files": Each(_FETCHED)}),
    "import": Fields(
        {},
        {
            "claims": Each(str),
            "changes": dict,
            "summary": Fields(
                {}, {"weights": many(Fields({"elements": int})), "opsets": many(Pair(str, int))}
            ),
        },
    ),
    "calibrate": Fields(),
    "search": Fields({"from": str, "choice": _CHOICE}, {"reached": str}),
    "evaluate": Fields({"answer": dict}),
    "quantize": Fields(
        {"audit": dict},
        {
            "why_not": Each(str),
            "planned": Each(int),
            "wide": Fields({}, {"overflow": dict, "overflow_io": dict, "by_default": dict}),
        },
    ),
    "parse": Fields(
        {
            "layers": int,
            "layers_read": int,
            "unread": list,
            "unread_by_type": Each(int),
            "cut": many(str),
            "notes": list,
            "misfits": many(_MISFIT),
            "contradictions": many(str),
            "warnings": many(_WARNING),
            "unreadable": str,
        }
    ),
    "build_engine": Fields(
        {
            "normalised": str,
            "version": str,
            "layer_counts": dict,
            "io": many(
                Fields(
                    {
                        "name": str,
                        "mode": str,
                        "dtype": str,
                        "shape": list,
                        "dimension_names": list,
                    }
                )
            ),
        },
        {
            "tactics": maybe(dict),
            "header": maybe(dict),
            "wheels": many(_WHEEL),
            "platform": Fields({"system": str, "architecture": str}),
            "seconds": Each(NUMBER),
        },
    ),
    "validate": _MEASURED,
    "readback": _READ_BACK,
    "reduce": Fields({"failures": many(Pair(str, str))}),
}
_NOTE = Fields({"from": dict}, {"sha256": str, "commit": maybe(str), "version": maybe(str)})
"""Of what a pin or an address came to, which is no stage's."""


def misfit(stage: str, summary: JsonObject) -> str:
    """The place in a stage's summary that does not have the shape its readers need; empty when there is none."""
    return _misfit(summary, _SUMMARIES.get(stage, _NOTE if not stage else Fields()), "")


def _misfit(value: Json, shape: Shape, at: str) -> str:
    match shape:
        case Fields():
            return _of_fields(value, shape, at)
        case Each():
            return _of_each(value, shape, at)
        case Pair(first, second):
            if not isinstance(value, list) or len(value) != 2:
                return at
            return _misfit(value[0], first, f"{at}[0]") or _misfit(value[1], second, f"{at}[1]")
        case Words(words):
            return "" if value in words else at
        case OneOf(shapes):
            return at if all(_misfit(value, one, at) for one in shapes) else ""
        case _:
            return "" if _is(value, shape) else at


def _of_fields(value: Json, shape: Fields, at: str) -> str:
    if not isinstance(value, Mapping):
        return at
    for name, inner in shape.fields.items():
        found = _misfit(value[name], inner, _inside(at, name)) if name in value else _inside(at, name)
        if found:
            return found
    for name, inner in shape.perhaps.items():
        found = _misfit(value[name], inner, _inside(at, name)) if name in value else ""
        if found:
            return found
    return ""


def _of_each(value: Json, shape: Each, at: str) -> str:
    if not isinstance(value, Sequence if shape.listed else Mapping) or isinstance(value, str):
        return at
    named = enumerate(value) if isinstance(value, Sequence) else value.items()
    return next((found for name, one in named if (found := _misfit(one, shape.shape, _inside(at, name)))), "")


def _inside(at: str, name: str | int) -> str:
    if isinstance(name, int):
        return f"{at}[{name}]"
    return f"{at}.{name[:60]}" if at else name[:60]


def _is(value: Json, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int):
        return kind in (int, NUMBER) and abs(value) <= _LARGEST
    if kind is NUMBER:
        return isinstance(value, float) and math.isfinite(value)
    return isinstance(value, kind)
