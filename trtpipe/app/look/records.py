"""Describes the small files of a project: lockfile, scales, calibration caches. Each function rejects other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trtpipe.errors import ModelError
from trtpipe.inspection.engine_files import read_json
from trtpipe.problem_codes import Code


def lockfile(path: Path) -> dict[str, Any]:
    """The cells of a lockfile. Raises TrtpipeError."""
    from trtpipe.lockfile import read_lock

    return {"kind": "lockfile", "format": "lockfile", "path": str(path), "cells": read_lock(path)}


def cache(path: Path) -> dict[str, Any]:
    """The entries of a calibration cache. Raises ModelError."""
    from trtpipe.calibration.caches.reader import read_cache

    found = read_cache(path)
    return {
        "kind": "calibration cache",
        "format": found.format,
        "path": str(path),
        "origin": found.origin,
        "method": found.method,
        "tensors": [
            {"name": one.name, "amax": one.amax, "scale": one.scale, "plausible": one.plausible}
            for one in found.entries
        ],
        "unusable": dict(found.unusable),
        "notes": list(found.notes),
    }


def json_file(path: Path) -> dict[str, Any]:
    """Scales, or a calibration cache that is written as JSON. Raises ModelError."""
    record = read_json(path)
    if isinstance(record, dict) and {"method", "backend", "tensors"} <= record.keys():
        return _scales(path)
    try:
        return cache(path)
    except ModelError as error:
        raise ModelError(
            Code.RECORD_DAMAGED,
            f"'{path}' is JSON, but not a manifest, scales or a calibration cache",
            "name the engine, the model or the directory instead",
        ) from error


def is_manifest(path: Path) -> bool:
    """Whether a JSON file is the manifest of a cell. Raises ModelError when it is damaged."""
    record = read_json(path)
    return isinstance(record, dict) and {"cell", "engine"} <= record.keys() and "latency" not in record


def _scales(path: Path) -> dict[str, Any]:
    from trtpipe.calibration.scales import read_scales

    return {"kind": "scales", "format": "scales", "path": str(path), **read_scales(path).to_json()}
