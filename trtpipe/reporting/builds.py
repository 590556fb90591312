"""A build as one record: its cells, its steps, what failed, what is missing and where it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1
STATUSES = ("complete", "failed", "interrupted")


@dataclass(frozen=True, slots=True)
class Course:
    """How a build went, beyond its cells."""

    steps: Sequence[Mapping[str, Any]]
    """Records of `address`, `stage`, `needs`, `state`, `why` and `seconds`."""
    failures: Sequence[Mapping[str, Any]] = ()
    """Records of `name` (a step or a cell) and `problems`."""
    interrupted: bool = False
    other_cells: int = 0
    """Cells that the lockfile has and the build was not about."""
    removed: Sequence[str] = field(default_factory=tuple)
    """Cells that the lockfile lost, for no spec declares them any more."""


def build_record(
    cells: Sequence[Mapping[str, Any]], course: Course, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The report of a build as a JSON object."""
    states = Counter(cell["state"] for cell in cells)
    missing = [cell["cell"] for cell in cells if cell["engine"] is None]
    return {
        "schema": SCHEMA,
        "kind": "build",
        "status": _status(course, missing),
        "environment": dict(environment),
        "counts": {
            "cells": len(cells),
            "states": dict(sorted(states.items())),
            "validated": _count(cells, "validation"),
            "on_gpu": _count(cells, "on_gpu"),
            "changed": sum(bool(cell["changes"]) for cell in cells),
        },
        "missing": missing,
        "other_cells": course.other_cells,
        "removed": list(course.removed),
        "failures": [dict(one) for one in course.failures],
        "steps": [dict(one) for one in course.steps],
        "cells": [dict(cell) for cell in cells],
    }


def _status(course: Course, missing: Sequence[str]) -> str:
    if course.interrupted:
        return "interrupted"
    return "failed" if course.failures or missing else "complete"


def _count(cells: Sequence[Mapping[str, Any]], part: str) -> dict[str, int]:
    found = Counter(cell[part]["outcome"] for cell in cells)
    return {name: found[name] for name in ("passed", "failed", "not run")}
