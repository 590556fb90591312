"""The report of one cell: its record, and everything that the files beside its engine add to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtpipe.reporting.builds import SCHEMA
from trtpipe.reporting.details import bench_of, proof_of, scales_of, search_of, validation_of
from trtpipe.reporting.values import (
    count_of,
    mapping_of,
    number_of,
    objects_of,
    plain_of,
    sizes_of,
    text_of,
)

READERS = {
    "validation.json": ("measured", validation_of),
    "proof.json": ("proof", proof_of),
    "bench.json": ("bench", bench_of),
    "search.json": ("search", search_of),
    "scales.json": ("scales", scales_of),
}
"""File beside the engine -> the part of the report that it becomes, and its reader."""
OF_THE_ENGINE = ("proof.json", "bench.json")
"""Files that count only for the engine whose digest they carry."""


def part_of(name: str, data: Any, engine: str) -> tuple[dict[str, Any] | None, str]:
    """A file's part of the report, or None and why there is none; `engine` is the BLAKE3 of the one beside it."""
    part = READERS[name][1](data)
    if part is None:
        return None, "not as trtpipe writes it"
    if name in OF_THE_ENGINE and part["engine"] != engine:
        return None, "of another engine than the one beside it"
    return part, ""


def cell_report(
    cell: Mapping[str, Any],
    manifest: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Any] | None],
    absent: Mapping[str, str],
    files: Sequence[str],
) -> dict[str, Any]:
    """The report of a delivered cell as a JSON object.

    `parts` are those of READERS, `absent` says of each that is None why, `files` are the names that a reader may open.
    """
    timings = mapping_of(manifest.get("timings"))
    return {
        "schema": SCHEMA,
        "kind": "cell",
        "cell": dict(cell),
        "trtpipe": text_of(manifest.get("trtpipe")),
        "provenance": _provenance(manifest),
        "reproducibility": plain_of(mapping_of(manifest.get("reproducibility"))),
        "profiles": [_profile(one) for one in objects_of(manifest.get("profiles"), 100)],
        "io": [_tensor(one) for one in objects_of(manifest.get("io"), 500)],
        "typed": plain_of(mapping_of(manifest.get("typed"))),
        "calibration": plain_of(mapping_of(manifest["calibration"])) if manifest.get("calibration") else None,
        "engine_phases": {
            text_of(name): number_of(value)
            for name, value in mapping_of(timings.get("engine_phases")).items()
        },
        **{part: parts.get(part) for part, _ in READERS.values()},
        "absent": dict(absent),
        "files": list(files),
    }


def _provenance(manifest: Mapping[str, Any]) -> dict[str, Any]:
    steps = mapping_of(manifest.get("steps"))
    return {
        "source": {text_of(name): text_of(one) for name, one in mapping_of(manifest.get("source")).items()},
        "origin": plain_of(mapping_of(manifest.get("origin"))),
        "model": {
            text_of(name): text_of(mapping_of(one).get("blake3"))
            for name, one in mapping_of(manifest.get("model")).items()
        },
        "python": text_of(mapping_of(manifest.get("toolchain")).get("python")),
        "steps": {
            text_of(stage): {name: text_of(mapping_of(one).get(name)) for name in ("address", "key")}
            for stage, one in steps.items()
        },
    }


def _profile(one: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
    return {
        text_of(name): {corner: sizes_of(mapping_of(shapes).get(corner)) for corner in ("min", "opt", "max")}
        for name, shapes in list(one.items())[:200]
    }


def _tensor(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": text_of(one.get("name")),
        "mode": text_of(one.get("mode")),
        "dtype": text_of(one.get("dtype")),
        "shape": sizes_of(one.get("shape")),
    }


def peak_bytes(manifest: Mapping[str, Any]) -> int | None:
    """The most memory that any of the cell's steps took."""
    found = [count_of(one) for one in mapping_of(manifest.get("peak_rss")).values()]
    return max((one for one in found if one is not None), default=None)
