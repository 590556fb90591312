"""The wheels that a toolchain was installed from, and the digests that their RECORDs give for files.

Every installer leaves a RECORD (Python packaging, "Recording installed projects"): one line a file, with its path, the
SHA-256 of its content (URL-safe base64 without padding) and its size. Independent of pip and of how a toolchain is
found.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains.lookup import PACKAGES
from trtpipe.toolchains.manifests import read_manifest

_PARTS = ("", "_bindings", "_libs")


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file of an installed wheel: its path, and its SHA-256 in hex and size according to the RECORD."""

    name: str
    path: Path
    sha256: str
    nbytes: int


def wheels_of(toolchain: Toolchain) -> list[dict[str, str]]:
    """Name, version and `contents` of each package; the `file` that it was installed from and its `sha256`, if known.

    `contents` is one SHA-256 over the paths and digests of the package's files: the same wherever the same wheel is
    installed, by any installer.
    """
    known = {one["name"]: one for folder in toolchain.site for one in _installed_from(Path(folder))}
    found = []
    for one in distributions_in(toolchain):
        name = _normal(one.metadata["Name"])
        wheel = known.get(name, {})
        about = {"name": name, "version": one.version, "contents": contents_of(one)}
        found.append(about | {key: wheel[key] for key in ("file", "sha256") if wheel.get(key)})
    return sorted(found, key=lambda one: one["name"])


def distributions_in(toolchain: Toolchain) -> list[metadata.Distribution]:
    """The packages of a toolchain, in its own directories."""
    names = toolchain.libraries or [f"{PACKAGES[toolchain.flavour][0]}{part}" for part in _PARTS]
    path = list(toolchain.site)
    found = [
        next((one for one in metadata.distributions(name=name, path=path)), None) for name in sorted(names)
    ]
    return [one for one in found if one is not None]


def recorded_files(distribution: metadata.Distribution) -> Iterator[RecordedFile]:
    """The files of the wheel according to its RECORD, without bytecode and files that installers add."""
    try:
        lines = list(csv.reader((distribution.read_text("RECORD") or "").splitlines()))
    except csv.Error:
        lines = []
    for line in lines:
        name, coded, size, *_ = (*line, "", "", "")
        kind, _, digest = coded.partition("=")
        sha256 = _hex(digest) if kind == "sha256" else ""
        if sha256 and not _belongs_to_installer(name):
            path = Path(str(distribution.locate_file(name)))
            yield RecordedFile(name, path, sha256, int(size) if size.isdecimal() else -1)


def contents_of(distribution: metadata.Distribution) -> str:
    """One SHA-256 for the contents of a package; empty without a RECORD."""
    files = sorted((one.name, one.sha256) for one in recorded_files(distribution))
    payload = [pair for pair in files if ".dist-info/" not in pair[0]]
    return hashlib.sha256(json.dumps(payload).encode()).hexdigest() if payload else ""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _installed_from(folder: Path) -> list[dict[str, str]]:
    """The wheels that provisioning recorded; empty for an environment that trtpipe did not make."""
    manifest = read_manifest(folder)
    return [{**one, "name": _normal(one["name"])} for one in manifest.wheels] if manifest else []


def _belongs_to_installer(name: str) -> bool:
    parts = name.split("/")
    own = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
    return parts[-1].endswith(".pyc") or (parts[0].endswith(".dist-info") and parts[-1] in own)


def _hex(digest: str) -> str:
    try:
        return base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
    except ValueError:
        return ""


def _normal(name: str) -> str:
    return name.replace("-", "_").lower()
