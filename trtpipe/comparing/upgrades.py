"""Compares the same cells on two TensorRT versions, by the manifests of both. Data to data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["failed", "worse", "same", "better", "not compared"]
ORDER: tuple[Status, ...] = ("failed", "worse", "not compared", "same", "better")
"""What a reviewer must see comes first."""
_ACCURACY = 1e-9
_SHARE = 0.001
"""Changes of an accuracy and of a share of layers that count as none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell on both versions. A side is None where there is no engine; `problems` says why there is no new one."""

    cell: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    problems: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """What became of the cell."""
        if self.new is None:
            return "failed"
        if self.old is None:
            return "not compared"
        signs = [*_signs(self.old, self.new)]
        return "worse" if -1 in signs else "better" if 1 in signs else "same"

    def to_json(self) -> dict[str, Any]:
        """This row as plain JSON values."""
        return {
            "cell": self.cell,
            "status": self.status,
            "old": None if self.old is None else dict(self.old),
            "new": None if self.new is None else dict(self.new),
            "problems": list(self.problems),
        }


def facts_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What of an engine is compared; times in seconds, shares from 0 to 1."""
    audit, validation = manifest["audit"], manifest["validation"]
    return {
        "toolchain": f"{manifest['toolchain']['flavour']} {manifest['toolchain']['version']}",
        "engine": manifest["engine"]["blake3"],
        "bytes": manifest["engine"]["bytes"],
        "build_seconds": manifest["timings"]["seconds"].get("build_engine"),
        "outcome": str(validation.get("outcome", "not run")).replace("_", " "),
        "accuracy": validation.get("accuracy"),
        "layers": dict(audit.get("layers", {})),
        "low_layer_share": audit.get("low_layer_share"),
    }


def _signs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[int]:
    """-1, 0 or 1 for each fact in which less is worse: the outcome, the accuracy, the share of narrow layers."""
    passed = [one["outcome"] == "passed" for one in (old, new)]
    return [
        passed[1] - passed[0] if "failed" in (old["outcome"], new["outcome"]) else 0,
        _sign(old["accuracy"], new["accuracy"], _ACCURACY),
        _sign(old["low_layer_share"], new["low_layer_share"], _SHARE),
    ]


def _sign(old: Any, new: Any, least: float) -> int:
    if not isinstance(old, (int, float)) or not isinstance(new, (int, float)):
        return 0
    return 0 if abs(new - old) <= least else 1 if new > old else -1


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Failures first, then what got worse; by name among equals."""
    return sorted(rows, key=lambda one: (ORDER.index(one.status), one.cell))
