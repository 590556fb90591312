"""The manifest of a provisioned environment: its contents, its wheels, and its files' modification times.

It is in the environment's folder; a damaged manifest counts as missing. Independent of pip and of how environments
are found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trtpipe.files import write_whole
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    integer_in,
    object_in,
    objects_in,
    read_object,
    text_in,
)
from trtpipe.targets.toolchain import FLAVOURS, Flavour

MANIFEST = "manifest.json"
"""What provisioning writes beside the packages."""
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts that provisioning recorded about an environment."""

    flavour: Flavour
    version: str
    libraries: Mapping[str, str]
    """Package → version."""
    wheels: tuple[Mapping[str, str], ...]
    """`name`, `version`, `file` and `sha256` of what it was installed from; empty values where that is not known."""
    files: Mapping[str, int]
    """File that matters → its size."""
    stamps: Mapping[str, int]
    """File → when it was last written, in nanoseconds; empty in an environment of an older trtpipe."""
    records: Mapping[str, str]
    """Package → SHA-256 of its RECORD."""
    nbytes: int
    record: JsonObject
    """As it was read, for who writes it again."""

    @classmethod
    def from_json(cls, record: JsonObject) -> Manifest:
        """Raises Malformed."""
        if record.get("schema") != SCHEMA:
            raise Malformed(f"schema is not {SCHEMA}")
        flavour = next((one for one in FLAVOURS if one == record.get("flavour")), None)
        if flavour is None:
            raise Malformed("flavour is none")
        wheels = objects_in(record, "wheels") if "wheels" in record else []
        return cls(
            flavour,
            text_in(record, "version"),
            _texts(object_in(record, "libraries")),
            tuple(_wheel(one) for one in wheels),
            _integers(object_in(record, "files")),
            _integers(object_in(record, "stamps")) if "stamps" in record else {},
            _texts(object_in(record, "records")) if "records" in record else {},
            integer_in(record, "nbytes"),
            record,
        )

    def with_stamps(self, stamps: Mapping[str, int]) -> dict[str, Json]:
        """The record with other modification times."""
        return {**self.record, "stamps": dict(stamps)}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in an environment's folder; None when it is missing or damaged."""
    try:
        return Manifest.from_json(read_object((folder / MANIFEST).read_bytes()))
    except (OSError, ValueError):  # the folder's name may be invalid
        return None


def write_manifest(folder: Path, record: JsonObject) -> None:
    """Write the manifest of an environment. Raises OSError."""
    write_whole(folder / MANIFEST, json.dumps(record, indent=2).encode() + b"\n")


def _texts(found: JsonObject) -> dict[str, str]:
    return {name: text_in(found, name) for name in found}


def _integers(found: JsonObject) -> dict[str, int]:
    return {name: integer_in(found, name) for name in found}


def _wheel(record: JsonObject) -> dict[str, str]:
    text_in(record, "name")
    return _texts(record)
