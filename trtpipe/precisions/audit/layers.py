"""Layers of TensorRT's network, or of an engine, as its reports list them.

The reports differ: a network's layers list their outputs with names and types, while a fused layer of an engine has
only text such as `y (Half[1,10])`. This module turns both into the same records. Works on plain data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtpipe.json_values import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Output:
    """One output tensor of a layer; `dtype` as the report writes it. An output given only as text has no name."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer; `kind` is in capitals, without the name of the enumeration."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]
    fused: bool
    """Whether its tensors are given as one text, in which they cannot be told apart."""


def layers_of(records: Sequence[Json]) -> list[Layer]:
    """The layers that a report lists, in its order."""
    return [_layer(record) for record in records if isinstance(record, Mapping)]


def layers_in(report: JsonObject) -> list[Layer]:
    """The layers of a report that stores them under `layers`."""
    return layers_of(_list(report.get("layers")))


def _layer(record: JsonObject) -> Layer:
    outputs, inputs = record.get("outputs"), record.get("inputs")
    fused = isinstance(outputs, str)
    return Layer(
        kind=str(record.get("type", "")).upper().rsplit(".", 1)[-1],
        inputs=tuple(str(one) for one in _list(inputs)),
        outputs=tuple(_output(one) for one in ([outputs] if outputs and fused else _list(outputs))),
        fused=fused,
    )


def _output(shown: Json) -> Output:
    if isinstance(shown, Mapping):
        return Output(str(shown.get("name", "")), str(shown.get("dtype", "")))
    return Output("", str(shown))


def _list(found: Json) -> Sequence[Json]:
    return found if isinstance(found, (list, tuple)) else ()
