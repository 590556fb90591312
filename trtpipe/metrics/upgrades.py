"""Compares the same cells on two TensorRT versions by their manifests. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trtpipe.json_values import Json, JsonObject, integer_in, number_in, object_in, text_in

Status = Literal["failed", "worse", "same", "better", "not compared"]
ORDER: tuple[Status, ...] = ("failed", "worse", "not compared", "same", "better")
"""What a reviewer must see comes first."""
_ACCURACY = 1e-9
_SHARE = 0.001
"""Changes of an accuracy and of a share of layers that count as none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell on both versions. A side is None if it has no engine; `problems` says why there is no new one."""

    cell: str
    old: JsonObject | None
    new: JsonObject | None
    problems: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """The result for the cell."""
        if self.new is None:
            return "failed"
        if self.old is None:
            return "not compared"
        signs = [*_signs(self.old, self.new)]
        return "worse" if -1 in signs else "better" if 1 in signs else "same"

    def to_json(self) -> dict[str, Json]:
        """This row as plain JSON values."""
        return {
            "cell": self.cell,
            "status": self.status,
            "old": None if self.old is None else dict(self.old),
            "new": None if self.new is None else dict(self.new),
            "problems": list(self.problems),
        }


def facts_of(manifest: JsonObject) -> dict[str, Json]:
    """The facts of an engine that are compared; times in seconds, shares from 0 to 1. Raises Malformed."""
    audit, validation = object_in(manifest, "audit"), object_in(manifest, "validation")
    toolchain, engine = object_in(manifest, "toolchain"), object_in(manifest, "engine")
    seconds = object_in(object_in(manifest, "timings"), "seconds")
    layers = object_in(audit, "layers") if "layers" in audit else {}
    return {
        "toolchain": f"{text_in(toolchain, 'flavour')} {text_in(toolchain, 'version')}",
        "engine": text_in(engine, "blake3"),
        "bytes": integer_in(engine, "bytes"),
        "build_seconds": _number(seconds, "build_engine"),
        "outcome": (text_in(validation, "outcome") if "outcome" in validation else "not run").replace(
            "_", " "
        ),
        "accuracy": _number(validation, "accuracy"),
        "layers": {name: integer_in(layers, name) for name in layers},
        "low_layer_share": _number(audit, "low_layer_share"),
    }


def _number(record: JsonObject, name: str) -> float | None:
    """A number that may be missing, or null."""
    return None if record.get(name) is None else number_in(record, name)


def _signs(old: JsonObject, new: JsonObject) -> list[int]:
    """-1, 0 or 1 for each fact in which less is worse: the outcome, the accuracy, the share of narrow layers."""
    passed = [one["outcome"] == "passed" for one in (old, new)]
    return [
        passed[1] - passed[0] if "failed" in (old["outcome"], new["outcome"]) else 0,
        _sign(old["accuracy"], new["accuracy"], _ACCURACY),
        _sign(old["low_layer_share"], new["low_layer_share"], _SHARE),
    ]


def _sign(old: Json, new: Json, least: float) -> int:
    if not isinstance(old, (int, float)) or not isinstance(new, (int, float)):
        return 0
    return 0 if abs(new - old) <= least else 1 if new > old else -1


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Failures first, then what got worse; by name among equals."""
    return sorted(rows, key=lambda one: (ORDER.index(one.status), one.cell))
