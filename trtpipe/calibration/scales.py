"""The scales of a model's tensors, as a calibrator found them: an artifact in readable, sorted, versioned JSON.

It may also, or only, hold ranges: the largest magnitudes of tensors on the data.

`amax` is the largest magnitude that a quantized tensor represents; an int8 scale is amax / 127, an fp8 (e4m3) one
amax / 448. Tensors have their names in the canonical model. Independent of how scales are found and used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from trtpipe.errors import ModelError
from trtpipe.files import write_whole
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    as_number,
    as_object,
    integer_in,
    number_in,
    object_in,
    read_object,
    text_in,
)
from trtpipe.problem_codes import Code

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class TensorScale:
    """One tensor: `typical` is the median over samples of their largest magnitude, `clipped` the share of values beyond
    amax, `zeros` the share of zeros; None when unknown."""

    amax: float
    largest: float | None = None
    typical: float | None = None
    values: int | None = None
    clipped: float | None = None
    zeros: float | None = None
    nonfinite: int = 0


@dataclass(frozen=True, slots=True)
class Advice:
    """How methods compare on the samples, by label: a method's name, or `percentile 99.9`."""

    used: str
    """The label of the method that made the scales."""
    decibels: Mapping[str, float] = field(default_factory=dict)
    """Method → signal by noise on what most samples hold, in int8, over all tensors; empty where it is not known."""
    cosines: Mapping[str, float] = field(default_factory=dict)
    """Label → cosine between the model's outputs and those with int8 activations; empty where it is not known."""
    samples: int = 0
    """On how many samples the outputs were compared."""
    recommended: str = ""
    """The label of the method that fits the samples; empty where it is not known."""
    unknown: str = ""
    """Why nothing is recommended, where the user can do something about it."""


@dataclass(frozen=True, slots=True)
class Scales:
    """Tensor → scale, and their origin: `method`, `samples`, `backend` and its version, `source` in words."""

    tensors: Mapping[str, TensorScale]
    method: str
    backend: str
    samples: int | None = None
    source: str = ""
    ranges: Mapping[str, float] = field(default_factory=dict)
    """Tensor → its largest finite magnitude on the data; empty where ranges were not asked for."""
    sums: Mapping[str, float] = field(default_factory=dict)
    """Tensor that holds means → the largest magnitude of the sums that they were made of."""
    advice: Advice | None = field(default=None, compare=False)
    """Which method fits the samples, where that was looked at. No part of the artifact: scales do not depend on it."""

    def to_json(self) -> dict[str, Json]:
        """The scales as a JSON object."""
        measured = {"ranges": self.ranges, "sums": self.sums}
        return {
            "schema": SCHEMA,
            "method": self.method,
            "backend": self.backend,
            "samples": self.samples,
            "source": self.source,
            "tensors": {name: asdict(self.tensors[name]) for name in sorted(self.tensors)},
            **{what: dict(sorted(found.items())) for what, found in measured.items() if found},
        }

    def write(self, path: Path) -> None:
        """Write them; equal scales give equal bytes. Raises OSError."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(path, (text + "\n").encode())


def read_scales(path: Path) -> Scales:
    """The scales in a file. Raises ModelError when it holds none."""
    try:
        return _scales_in(read_object(path.read_bytes()))
    except (OSError, Malformed) as error:
        raise ModelError(Code.RECORD_DAMAGED, f"'{path.name}' contains no scales: {error}") from error


def _scales_in(record: JsonObject) -> Scales:
    schema = integer_in(record, "schema")
    if schema != SCHEMA:
        raise Malformed(f"schema {schema}")
    found = object_in(record, "tensors")
    return Scales(
        {name: _scale_in(as_object(one, f"tensor '{name}'")) for name, one in found.items()},
        text_in(record, "method"),
        text_in(record, "backend"),
        None if record.get("samples") is None else integer_in(record, "samples"),
        text_in(record, "source"),
        ranges=_magnitudes_in(record, "ranges"),
        sums=_magnitudes_in(record, "sums"),
    )


_NUMBERS = ("largest", "typical", "clipped", "zeros")
_COUNTS = ("values", "nonfinite")


def _scale_in(record: JsonObject) -> TensorScale:
    unknown = record.keys() - {"amax", *_NUMBERS, *_COUNTS}
    if unknown:
        raise Malformed(f"a tensor has {min(unknown)!r}, which is unknown")
    amax = number_in(record, "amax")
    if amax < 0:
        raise Malformed("an amax is negative")
    numbers = {name: number_in(record, name) for name in _NUMBERS if record.get(name) is not None}
    values = None if record.get("values") is None else integer_in(record, "values")
    nonfinite = integer_in(record, "nonfinite") if "nonfinite" in record else 0
    return TensorScale(amax, values=values, nonfinite=nonfinite, **numbers)


def _magnitudes_in(record: JsonObject, what: str) -> dict[str, float]:
    found = _numbers_by_name(record, what)
    if any(value < 0 for value in found.values()):
        raise Malformed(f"the number of {what} is negative")
    return found


def _numbers_by_name(record: JsonObject, what: str) -> dict[str, float]:
    found = object_in(record, what) if what in record else {}
    return {name: as_number(value, f"'{name}' of {what}") for name, value in found.items()}
