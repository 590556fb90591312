"""An engine as it was delivered: its file, and beside it a manifest that says what it is and which TensorRT runs it.

A directory that holds both is all that a machine with a GPU needs: no store, no spec, no source.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.errors import ModelError
from trtpipe.files import is_special
from trtpipe.runners.inference.requests import BuiltFor
from trtpipe.runners.inference.trust import TrustedEngine, trusted_engine
from trtpipe.targets.toolchain import FLAVOURS, Flavour
from trtpipe.toolchains.header import read_engine_header

ENGINE = "model.engine"
MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 64 << 20


@dataclass(frozen=True, slots=True)
class DeliveredEngine:
    """An engine that may be deserialized, and what is known of it."""

    engine: TrustedEngine
    flavour: Flavour
    built_for: BuiltFor
    """With the version that built it, which is the one to run it with."""
    manifest: Mapping[str, Any] | None


def delivered_engine(place: Path, *, vouched: Collection[str] = ()) -> DeliveredEngine:
    """The engine in a directory, or a file; its manifest vouches for it as `vouched` (BLAKE3 in hex) does.

    Without a manifest its header tells what it is, which that of the flavour tensorrt does not. Raises ModelError.
    """
    path = place / ENGINE if place.is_dir() else place
    manifest = read_manifest(path.with_name(MANIFEST))
    named = {manifest["engine"]["blake3"]} if manifest else set()
    engine = trusted_engine(path, {*vouched, *named})
    if manifest is not None and engine.digest.hex in named:
        return _as_told(engine, manifest)
    header = read_engine_header(path)
    return DeliveredEngine(engine, "tensorrt_rtx", BuiltFor(header.capabilities, header.version), None)


def _as_told(engine: TrustedEngine, manifest: Mapping[str, Any]) -> DeliveredEngine:
    toolchain = manifest["toolchain"]
    names = tuple(str(name) for name in manifest["compute_capabilities"])
    flavour = next(one for one in FLAVOURS if one == toolchain["flavour"])
    return DeliveredEngine(engine, flavour, BuiltFor(names, str(toolchain["version"])), manifest)


def read_manifest(path: Path) -> Mapping[str, Any] | None:
    """A manifest that says what is needed here, or None where there is no such file. Raises ModelError."""
    try:
        if not path.exists():
            return None
        small = not is_special(path) and path.stat().st_size <= _LARGEST_MANIFEST
        raw = path.read_bytes() if small else b""
        record = json.loads(raw)
        toolchain, names = record["toolchain"], record["compute_capabilities"]
        right = isinstance(record["engine"]["blake3"], str) and toolchain["flavour"] in FLAVOURS
        right = right and isinstance(toolchain["version"], str) and isinstance(names, list)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        right = False
    if not right:
        raise ModelError(f"{path} is a damaged manifest", "build the cell again, or copy it again")
    found: Mapping[str, Any] = record
    return found
