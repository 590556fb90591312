"""Scales: what a calibrator found out of a model's tensors. An artifact: readable, sorted JSON with a schema number.

Beside scales, or instead of them, it may hold ranges: how large tensors became on the data.

`amax` is the largest magnitude that a quantized tensor represents; an int8 scale is amax / 127, an fp8 (e4m3) one
amax / 448. Tensors go by their names in the canonical model. Knows neither how they were found nor who uses them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.errors import ModelError
from trtpipe.files import write_whole

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class TensorScale:
    """One tensor: `typical` is the median over samples of their largest magnitude, `clipped` the share of values beyond
    amax, `zeros` that of zeros; None where unknown."""

    amax: float
    largest: float | None = None
    typical: float | None = None
    values: int | None = None
    clipped: float | None = None
    zeros: float | None = None
    nonfinite: int = 0


@dataclass(frozen=True, slots=True)
class Scales:
    """Tensor → scale, and how they came about: `method`, `samples`, `backend` and its version, `source` in words."""

    tensors: Mapping[str, TensorScale]
    method: str
    backend: str
    samples: int | None = None
    source: str = ""
    ranges: Mapping[str, float] = field(default_factory=dict)
    """Tensor → its largest finite magnitude on the data; empty where ranges were not asked for."""
    sums: Mapping[str, float] = field(default_factory=dict)
    """Tensor that holds means → the largest magnitude of the sums that they were made of."""
    decibels: Mapping[str, float] = field(default_factory=dict)
    """Method → signal by noise on what most samples hold, in int8, over all tensors; empty where it is not known."""
    recommended: str = ""
    """The method that fits the samples; empty where it is not known."""

    def to_json(self) -> dict[str, Any]:
        """The scales as a JSON object."""
        measured = {"ranges": self.ranges, "sums": self.sums}
        return {
            "schema": SCHEMA,
            "method": self.method,
            "backend": self.backend,
            "samples": self.samples,
            "source": self.source,
            **{what: value for what, value in self._advice().items() if value},
            "tensors": {name: asdict(self.tensors[name]) for name in sorted(self.tensors)},
            **{what: dict(sorted(found.items())) for what, found in measured.items() if found},
        }

    def _advice(self) -> dict[str, Any]:
        return {"decibels": dict(sorted(self.decibels.items())), "recommended": self.recommended}

    def write(self, path: Path) -> None:
        """Write them; equal scales give equal bytes. Raises OSError."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(path, (text + "\n").encode())


def read_scales(path: Path) -> Scales:
    """The scales in a file. Raises ModelError when it holds none."""
    try:
        record = json.loads(path.read_bytes())
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema {record['schema']!r}")
        tensors = {name: TensorScale(**one) for name, one in record["tensors"].items()}
        if not all(type(one.amax) in (int, float) for one in tensors.values()):
            raise ValueError("an amax that is no number")
        return Scales(
            tensors,
            record["method"],
            record["backend"],
            record["samples"],
            record["source"],
            ranges=record.get("ranges", {}),
            sums=record.get("sums", {}),
            decibels=record.get("decibels", {}),
            recommended=record.get("recommended", ""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"'{path.name}' holds no scales: {error}") from error
