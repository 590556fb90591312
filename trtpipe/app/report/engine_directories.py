"""Reads an engine directory for a report: its manifest, and the files that steps and commands left beside it.

Each file is read when it is needed and may be damaged, huge or not a regular file; then there is a reason instead.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from trtpipe.json_values import Malformed
from trtpipe.reports.cell_report import Parts, part_of
from trtpipe.reports.cells import Manifest
from trtpipe.reports.details import bench_of, proof_of, scales_of, search_of, validation_of
from trtpipe.reports.part_models import Bench, Measured, Proof
from trtpipe.reports.record import Record
from trtpipe.reports.values import mapping_of

P = TypeVar("P")
R = TypeVar("R", bound=Record)

_MOST_BYTES = 64 << 20
_LISTED = (
    "manifest.json", "summary.md", "build.log", "report.json", "validation.json", "proof.json", "bench.json",
    "search.json", "precision.json", "scales.json", "network.json", "layers.json", "pareto.svg", "model.onnx",
    "golden.npz", "provenance.json", "model.cdx.json",
)  # fmt: skip
"""Files that a report links to, if they exist."""
_WRITTEN_WITH_IT = "report.json"
_MISSING = "not there"


@dataclass
class Delivered:
    """A delivered cell's directory. Its files are read on first access, once."""

    folder: Path
    manifest: Manifest
    absent: dict[str, str] = field(default_factory=dict)
    """File -> why there is nothing of it."""

    @cached_property
    def measured(self) -> Measured | None:
        """The content of validation.json."""
        return self._part("validation.json", validation_of)

    @cached_property
    def proof(self) -> Proof | None:
        """The content of proof.json."""
        return self._part("proof.json", proof_of)

    @cached_property
    def bench(self) -> Bench | None:
        """The content of bench.json."""
        return self._part("bench.json", bench_of)

    def parts(self) -> Parts:
        """Every part of a report."""
        return Parts(
            measured=self.measured,
            proof=self.proof,
            bench=self.bench,
            search=self._part("search.json", search_of),
            scales=self._part("scales.json", partial(scales_of, calibration=self._calibration())),
        )

    def _calibration(self) -> Mapping[str, object]:
        return mapping_of(self.manifest.get("calibration"))

    def _part(self, name: str, reader: Callable[[object], P | None]) -> P | None:
        data, wrong = read_json(f"{self.folder}/{name}")
        part = None
        if not wrong:
            part, wrong = part_of(reader, data, str(mapping_of(self.manifest.get("engine")).get("blake3")))
        if wrong:
            self.absent[name] = wrong
        return part

    def files(self) -> list[str]:
        """The names of the files that are there."""
        return [name for name in _LISTED if name == _WRITTEN_WITH_IT or (self.folder / name).is_file()]


def delivered_in(folder: Path) -> Delivered | str:
    """The directory's manifest, read; or why it has none."""
    manifest, wrong = read_json(f"{folder}/manifest.json")
    if wrong:
        return f"its manifest.json is {wrong}"
    if not isinstance(manifest, dict) or not isinstance(manifest.get("cell"), str):
        return "its manifest.json is not in trtpipe's format"
    return Delivered(folder, manifest)


def last_report(kind: type[R], path: Path) -> tuple[R | None, str]:
    """The existing report, and what is wrong with it (empty when nothing is)."""
    data, wrong = read_json(str(path))
    if wrong:
        return None, "" if wrong == _MISSING else f"it is {wrong}"
    try:
        return kind.read(data), ""
    except Malformed as error:
        return None, str(error)


def read_json(path: str) -> tuple[object, str]:
    """The content of a JSON file, and why it cannot be read (empty when it can).

    Reports of large builds ask for many thousand files, of which a Path takes longer than the question.
    """
    try:
        found = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(found.st_mode):
            return None, "not a file"
        if found.st_size > _MOST_BYTES:
            return None, "too large to show"
        with open(path, "rb") as file:  # noqa: PTH123
            return json.loads(file.read()), ""
    except FileNotFoundError:
        return None, _MISSING
    except OSError as error:
        return None, f"not readable ({(error.strerror or str(error)).lower()})"
    except (ValueError, RecursionError, MemoryError):
        return None, "damaged"
