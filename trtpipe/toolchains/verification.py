"""Verifies that a toolchain on disk is unchanged: quickly by file signatures, or fully by the digests in its RECORDs.

A build does the quick check for provisioned environments; `toolchain verify` does the full check for all toolchains.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from trtpipe.errors import ToolchainError
from trtpipe.json_values import Json
from trtpipe.problem_codes import Code
from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains.manifests import Manifest, read_manifest, write_manifest
from trtpipe.toolchains.wheel_lock import WheelLock, known_by_file
from trtpipe.toolchains.wheels import (
    RecordedFile,
    distributions_in,
    recorded_files,
    sha256_of,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of verifying one toolchain."""

    name: str
    origin: str
    """`installed` or `provisioned`."""
    files: int
    """How many files were hashed."""
    wheels: int
    """How many of its wheels the project's lock knows."""
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """This verdict as plain JSON values."""
        return {
            "toolchain": self.name,
            "origin": self.origin,
            "files": self.files,
            "wheels": self.wheels,
            "problems": list(self.problems),
        }


def verify(toolchain: Toolchain, lock: WheelLock, damage: str = "") -> Verdict:
    """Hash every file of a toolchain; `damage` is known already. Raises ToolchainError for a damaged lock."""
    name = name_of(toolchain)
    manifest = manifest_of(toolchain)
    files, problems = 0, [damage] if damage else []
    for one in distributions_in(toolchain):
        recorded = list(recorded_files(one))
        title = str(one.metadata["Name"])
        if not recorded:
            problems.append(f"{title} has no RECORD with which its files could be compared")
        if _record_changed(one, title, manifest):
            problems.append(f"the RECORD of {title} is not the one that was installed")
        files += len(recorded)
        problems += [said for file in recorded if (said := _said_of(file))]
    problems += [] if files or problems else ["none of its packages is there"]
    known = lock.wheels(name)
    came_from = known_by_file(manifest.wheels if manifest else ())
    for file, sha256 in came_from.items():
        if known.get(file, sha256) != sha256:
            problems.append(f"it was installed from another {file} than {lock.path.name} names")
    origin = "provisioned" if manifest or damage else "installed"
    return Verdict(name, origin, files, len(came_from.keys() & known.keys()), tuple(problems))


def _said_of(file: RecordedFile) -> str:
    """How a file differs from its record; empty when it does not."""
    try:
        return "" if sha256_of(file.path) == file.sha256 else f"changed: {file.name}"
    except FileNotFoundError:
        return f"missing: {file.name}"
    except OSError as error:
        return f"unreadable: {file.name}: {(error.strerror or str(error)).lower()}"


def _record_changed(distribution: metadata.Distribution, title: str, manifest: Manifest | None) -> bool:
    noted = manifest.records.get(title) if manifest else None
    return noted is not None and noted != record_digest(distribution)


def record_digest(distribution: metadata.Distribution) -> str:
    """SHA-256 of a package's RECORD."""
    return hashlib.sha256((distribution.read_text("RECORD") or "").encode()).hexdigest()


def stamps_of(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """When each file was last written, in nanoseconds; any ordinary change updates it."""
    return {name: (folder / name).stat().st_mtime_ns for name in names}


def changed_files(toolchain: Toolchain) -> list[str]:
    """The files of a provisioned toolchain that differ from its wheels. Takes one stat call per file.

    Only files that were written since are hashed; the manifest is updated if they are unchanged.
    """
    manifest = manifest_of(toolchain)
    if manifest is None:
        return []
    stamps = manifest.stamps
    folder = Path(toolchain.site[0])
    touched = [name for name, stamp in stamps.items() if _stamp(folder / name) != stamp]
    if not touched:
        return []
    recorded = {file.name: file for one in distributions_in(toolchain) for file in recorded_files(one)}
    wrong = [name for name in touched if name not in recorded or _said_of(recorded[name])]
    if not wrong:
        with contextlib.suppress(OSError):
            write_manifest(folder, manifest.with_stamps(stamps_of(folder, stamps)))
    return wrong


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


def refuse_changed(toolchain: Toolchain) -> None:
    """Raise ToolchainError when a provisioned toolchain was changed on disk."""
    wrong = changed_files(toolchain)
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        name = name_of(toolchain)
        raise ToolchainError(
            Code.TOOLCHAIN_CHANGED,
            f"the toolchain {name} was changed on disk: {wrong[0]}{more} is not what its wheel held",
            f"`trtpipe toolchain verify {name}` lists what changed; `trtpipe toolchain remove {name}` and a build "
            "install it again",
        )


def learn_wheels(toolchain: Toolchain, lock: WheelLock) -> None:
    """Compare a provisioned toolchain's wheels with the lock, and add new ones to it."""
    manifest = manifest_of(toolchain)
    wheels = known_by_file(manifest.wheels if manifest else ())
    if wheels:
        lock.learn(name_of(toolchain), wheels)


def name_of(toolchain: Toolchain) -> str:
    """The name that `toolchain ls` prints: `tensorrt_rtx-1.6.1.120`."""
    return f"{toolchain.flavour}-{toolchain.version}"


def manifest_of(toolchain: Toolchain) -> Manifest | None:
    """The manifest of a toolchain's environment; None for one that trtpipe did not make."""
    manifest = read_manifest(Path(toolchain.site[0])) if toolchain.site else None
    return manifest if manifest is not None and manifest.flavour == toolchain.flavour else None
