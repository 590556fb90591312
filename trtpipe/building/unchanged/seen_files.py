"""Files as they were seen: their names, and one digest of all their signatures, to find out whether any has changed.

Imported by a build with nothing to do, so it needs nothing but the digests.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from trtpipe.digests import digest_bytes
from trtpipe.stores.state import Signature, signature_of

Known: TypeAlias = dict[str, dict[str, Signature | None]]
"""Folder → name → signature. Folders may be relative to the project's root."""
Groups: TypeAlias = Sequence[tuple[Sequence[str], Sequence[str]]]
"""Names of files, and the folders that have files of all these names. Nearly all cells have the same names."""
Seen: TypeAlias = tuple[Groups, str]
"""Files, and the digest of their signatures."""


def seen_of(known: Known) -> Seen:
    """Files as they are known."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for folder, files in known.items():
        groups.setdefault(tuple(files), []).append(folder)
    found = list(groups.items())
    return found, _digest(
        [known[folder][name] or "" for names, folders in found for folder in folders for name in names]
    )


def is_as_seen(root: Path, seen: Seen) -> bool:
    """Whether all files are as they were. Plain loops: this is most of what a build with nothing to do takes."""
    groups, digest = seen
    signatures: list[str] = []
    for names, folders in groups:
        for folder in folders:
            place = os.path.join(root, folder)  # noqa: PTH118 - a Path for each costs more than the stat
            signatures += [signature_of(f"{place}/{name}") or "" for name in names]
    return _digest(signatures) == digest


def _digest(signatures: Sequence[str]) -> str:
    return digest_bytes("\n".join(signatures).encode()).hex
