"""Reads an engine directory for a report: its manifest, and the files that steps and commands left beside it.

Each file is read when it is asked for and may be damaged, enormous or no file at all; then there is a reason instead.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.reporting.cell_report import OF_THE_ENGINE, READERS, part_of
from trtpipe.reporting.values import mapping_of

_MOST_BYTES = 64 << 20
_LISTED = (
    "manifest.json", "summary.md", "build.log", "report.json", "validation.json", "proof.json", "bench.json",
    "search.json", "precision.json", "scales.json", "network.json", "layers.json", "pareto.svg", "model.onnx", "golden.npz",
    "provenance.json", "model.cdx.json",
)  # fmt: skip
"""What a report links to, when it is there."""
_WRITTEN_WITH_IT = "report.json"


@dataclass(slots=True)
class Delivered:
    """A delivered cell's directory."""

    folder: Path
    manifest: dict[str, Any]
    absent: dict[str, str] = field(default_factory=dict)
    """File -> why there is nothing of it."""
    _read: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    def part(self, name: str) -> dict[str, Any] | None:
        """A file as part of a report, or None; `absent` then says why."""
        if name not in self._read:
            self._read[name] = self._part(name)
        return self._read[name]

    def _part(self, name: str) -> dict[str, Any] | None:
        data, wrong = read_json(self.folder / name)
        part = None
        if not wrong:
            engine = mapping_of(self.manifest.get("engine")).get("blake3")
            part, wrong = part_of(name, data, str(engine))
        if wrong:
            self.absent[name] = wrong
        return part

    def parts(self) -> dict[str, dict[str, Any] | None]:
        """Every part of a report, by its name there."""
        return {part: self.part(name) for name, (part, _) in READERS.items()}

    def forget(self) -> None:
        """Let go of what was read, but for what tables of many cells show."""
        self._read = {name: self._read[name] for name in OF_THE_ENGINE if name in self._read}

    def files(self) -> list[str]:
        """The names of the files that are there."""
        return [name for name in _LISTED if name == _WRITTEN_WITH_IT or (self.folder / name).is_file()]


def delivered_in(folder: Path) -> Delivered | str:
    """The directory's manifest, read; or why it has none."""
    manifest, wrong = read_json(folder / "manifest.json")
    if wrong:
        return f"its manifest.json is {wrong}"
    if not isinstance(manifest, dict) or not isinstance(manifest.get("cell"), str):
        return "its manifest.json is not as trtpipe writes it"
    return Delivered(folder, manifest)


def read_json(path: Path) -> tuple[Any, str]:
    """What a JSON file holds, and why it cannot be read (empty when it can)."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return None, "not a file"
        if found.st_size > _MOST_BYTES:
            return None, "too large to show"
        return json.loads(path.read_bytes()), ""
    except FileNotFoundError:
        return None, "not there"
    except OSError as error:
        return None, f"not readable ({(error.strerror or str(error)).lower()})"
    except (ValueError, RecursionError, MemoryError):
        return None, "damaged"
