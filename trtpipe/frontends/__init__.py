"""Frontends: from a source format to canonical ONNX. One file a format, each with a module-level `frontend`.

None knows precisions, targets or stores. What they share is the shape of their report.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class LowerReport:
    """What lowering a source made.

    `files` are those written, the model first; `changes` counts what each pass did and notes the rest; `summary`
    describes the canonical model; `warnings` are sentences for the user.
    """

    files: tuple[Path, ...]
    changes: dict[str, Any]
    summary: dict[str, Any]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values, files by name alone."""
        return {
            "files": [file.name for file in self.files],
            "changes": self.changes,
            "summary": self.summary,
            "warnings": list(self.warnings),
        }


class Frontend(Protocol):
    """What a module here provides as `frontend`."""

    name: str
    version: int
    """Enters the key; raised when the same source would give other bytes."""
    Options: type[BaseModel]
    """`model.options` of the spec."""

    def sources(self, path: Path, root: Path | None) -> list[Path]:
        """The files whose bytes matter: the source first, then what it refers to. Raises ModelError."""

    def lower(self, path: Path, options: Any, out: Path, *, root: Path | None = None) -> LowerReport:
        """Writes the canonical ONNX form of the source at `path` to `out`. Raises ModelError."""


def frontend_names() -> tuple[str, ...]:
    """The parsers that there are, by the names of their modules; none is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def find_frontend(name: str) -> Frontend | None:
    """The frontend of this name; None when there is none."""
    if name not in frontend_names():
        return None
    return cast(Frontend, importlib.import_module(f"{__name__}.{name}").frontend)
