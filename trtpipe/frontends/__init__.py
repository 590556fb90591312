"""Frontends: from a source format to canonical ONNX. One file a format, each with a module-level `frontend`.

None knows precisions, targets or stores. What they share is the shape of their report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
