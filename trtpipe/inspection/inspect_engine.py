"""Describes an engine from its file: its header, the GPUs that run it, and its manifest if there is one.

Needs no GPU and no TensorRT. The header reader is passed in; a manifest counts only if it has the digest of these
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trtpipe.digests import Digest, digest_file
from trtpipe.errors import ModelError
from trtpipe.inspection.engine_files import (
    MANIFEST,
    NetworkLayer,
    kinds_of,
    read_json,
    read_network,
    records_beside,
    types_of,
)
from trtpipe.json_values import Json, JsonObject, Malformed, as_object, object_in
from trtpipe.problem_codes import Code
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.gpus import gpus_with

_NAMED_GPUS = 4


class Header(Protocol):
    """The contents of an engine's header."""

    @property
    def capabilities(self) -> tuple[str, ...]:
        """`sm86`, `sm89`."""

    def to_json(self) -> dict[str, Json]:
        """The header as plain JSON values."""


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """An engine file; everything in it can be written as JSON."""

    path: str
    digest: Digest
    header: JsonObject | None
    """None for an engine whose layout is not known, of which only the manifest speaks."""
    gpus: Mapping[str, tuple[str, ...]]
    """Compute capability → some GPUs that have it."""
    manifest: JsonObject | None
    notes: tuple[str, ...] = ()
    network: tuple[NetworkLayer, ...] | None = None
    """The layers that TensorRT was given, of an engine whose manifest lies beside it."""
    records: JsonObject = field(default_factory=dict)
    """What was measured of these bytes: `proof`, `bench`."""

    def to_json(self) -> dict[str, Json]:
        """This description as plain JSON values."""
        return {
            "kind": "engine",
            "format": "engine",
            "path": self.path,
            "bytes": self.digest.size,
            "blake3": self.digest.hex,
            "header": None if self.header is None else dict(self.header),
            "gpus": {name: list(gpus) for name, gpus in self.gpus.items()},
            "manifest": None if self.manifest is None else dict(self.manifest),
            "network": None if self.network is None else _network_json(self.network),
            "records": dict(self.records),
            "notes": list(self.notes),
        }


def describe_engine(
    path: Path,
    *,
    read_header: Callable[[Path], Header],
    find_manifest: Callable[[Digest], JsonObject | None] = lambda digest: None,
) -> EngineDescription:
    """The description of the engine at `path`.

    `read_header` raises ModelError for an unknown header; the error is passed on unless a manifest is found beside
    the engine or by `find_manifest`. Raises ModelError.
    """
    try:
        digest = digest_file(path)
    except OSError as error:
        raise ModelError(
            Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        ) from error
    beside, notes = _beside(path, digest)
    manifest = beside or find_manifest(digest)
    header: Header | None = None
    try:
        header = read_header(path)
    except ModelError as error:
        if manifest is None:
            raise
        notes.append(error.problems[0].fact)
    names = header.capabilities if header is not None else _targets_in(manifest)
    records, more = records_beside(path.parent, digest)
    notes += more
    network = _network_beside(path, notes) if beside is not None else None
    return EngineDescription(
        str(path),
        digest,
        header.to_json() if header is not None else None,
        {name: _some_gpus(name) for name in names},
        manifest,
        tuple(notes),
        network,
        records,
    )


def _network_beside(path: Path, notes: list[str]) -> tuple[NetworkLayer, ...] | None:
    try:
        return read_network(path.parent)
    except ModelError as error:
        notes.append(error.problems[0].fact)
        return None


def _network_json(layers: tuple[NetworkLayer, ...]) -> dict[str, Json]:
    return {"types": types_of(layers), "kinds": kinds_of(layers), "layers": [one.to_json() for one in layers]}


def _beside(path: Path, digest: Digest) -> tuple[JsonObject | None, list[str]]:
    """The manifest in the engine's folder if it is this engine's; and anything unusual about it."""
    file = path.parent / MANIFEST
    try:
        if not file.is_file():
            return None, []
        record = read_json(file)
    except (OSError, ModelError):
        return None, [f"'{file}' cannot be read as a manifest"]
    try:
        manifest = as_object(record, MANIFEST)
        made = object_in(manifest, "engine").get("blake3", "")
    except Malformed:
        made = ""
    if not made:
        return None, [f"'{file}' is not a manifest of an engine"]
    if made != digest.hex:
        return None, [f"'{file}' is the manifest of another engine"]
    return manifest, []


def _targets_in(manifest: JsonObject | None) -> tuple[str, ...]:
    names = (manifest or {}).get("compute_capabilities", ())
    return tuple(str(name) for name in names) if isinstance(names, (list, tuple)) else ()


def _some_gpus(name: str) -> tuple[str, ...]:
    try:
        return gpus_with(ComputeCapability.parse(name))[:_NAMED_GPUS]
    except ValueError:
        return ()
