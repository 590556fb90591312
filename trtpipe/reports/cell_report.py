"""The report of one cell: its record, and what the files beside its engine add to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from trtpipe.reports.cells import Manifest
from trtpipe.reports.models import CellRecord, CellReport, Corners, MadeBy, Provenance, Tensor
from trtpipe.reports.part_models import Bench, Measured, Proof, Scales, Search
from trtpipe.reports.reach import network_of
from trtpipe.reports.values import (
    mapping_of,
    number_of,
    objects_of,
    plain_object_of,
    sizes_of,
    text_of,
)

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the files beside an engine add to its report; None if there is nothing to show."""

    measured: Measured | None = None
    proof: Proof | None = None
    bench: Bench | None = None
    search: Search | None = None
    scales: Scales | None = None


def part_of(reader: Callable[[object], P | None], data: object, engine: str) -> tuple[P | None, str]:
    """A file's part of the report, or None and the reason; `engine` is the BLAKE3 of the engine beside it.

    A proof and a benchmark count only for the engine whose digest they carry.
    """
    part = reader(data)
    if part is None:
        return None, "not as trtpipe writes it"
    if isinstance(part, (Proof, Bench)) and part.engine != engine:
        return None, "of a different engine than the one next to it"
    return part, ""


def cell_report(
    cell: CellRecord, manifest: Manifest, parts: Parts, absent: Mapping[str, str], files: Sequence[str]
) -> CellReport:
    """The report of a delivered cell.

    `absent` gives the reason for each part that is None, `files` are the names of files that a reader may open.
    """
    phases = mapping_of(mapping_of(manifest.get("timings")).get("engine_phases"))
    calibration = manifest.get("calibration")
    return CellReport(
        cell=cell,
        trtpipe=text_of(manifest.get("trtpipe")),
        provenance=_provenance(manifest),
        reproducibility=plain_object_of(manifest.get("reproducibility")),
        profiles=tuple(_profile(one) for one in objects_of(manifest.get("profiles"), 100)),
        io=tuple(_tensor(one) for one in objects_of(manifest.get("io"), 500)),
        typed=plain_object_of(manifest.get("typed")),
        calibration=plain_object_of(calibration) if calibration else None,
        engine_phases={text_of(name): number_of(value) for name, value in phases.items()},
        network=network_of(manifest.get("network")),
        measured=parts.measured,
        proof=parts.proof,
        bench=parts.bench,
        search=parts.search,
        scales=parts.scales,
        absent=dict(absent),
        files=tuple(files),
    )


def _provenance(manifest: Manifest) -> Provenance:
    return Provenance(
        source={text_of(name): text_of(one) for name, one in mapping_of(manifest.get("source")).items()},
        origin=plain_object_of(manifest.get("origin")),
        model={
            text_of(name): text_of(mapping_of(one).get("blake3"))
            for name, one in mapping_of(manifest.get("model")).items()
        },
        python=text_of(mapping_of(manifest.get("toolchain")).get("python")),
        steps={
            text_of(stage): _made_by(mapping_of(one))
            for stage, one in mapping_of(manifest.get("steps")).items()
        },
    )


def _made_by(step: Mapping[str, object]) -> MadeBy:
    return MadeBy(address=text_of(step.get("address")), key=text_of(step.get("key")))


def _profile(one: Mapping[str, object]) -> dict[str, Corners]:
    return {text_of(name): _corners(mapping_of(shapes)) for name, shapes in list(one.items())[:200]}


def _corners(shapes: Mapping[str, object]) -> Corners:
    return Corners(
        min=sizes_of(shapes.get("min")), opt=sizes_of(shapes.get("opt")), max=sizes_of(shapes.get("max"))
    )


def _tensor(one: Mapping[str, object]) -> Tensor:
    return Tensor(
        name=text_of(one.get("name")),
        mode=text_of(one.get("mode")),
        dtype=text_of(one.get("dtype")),
        shape=sizes_of(one.get("shape")),
    )
