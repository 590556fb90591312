"""Which engines may be deserialized. An engine is a program, so its digest must be vouched for.

A digest is accepted when it is in the manifest beside the engine, in the lockfile, or was given by the user. All
digests here are BLAKE3 in hex.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import Digest, both_digests
from trtpipe.errors import ModelError
from trtpipe.lockfile import read_lock
from trtpipe.problem_codes import Code

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TrustedEngine:
    """An engine file whose digest somebody vouched for; it is checked again on the bytes that are deserialized."""

    path: Path
    digest: Digest
    sha256: str
    """In hex: what the process that deserializes can compute with the standard library alone."""


def trusted_engine(path: Path, vouched: Collection[str]) -> TrustedEngine:
    """The engine, if its digest is among those vouched for (BLAKE3, 64 hex digits each). Raises ModelError."""
    try:
        digest, sha256 = both_digests(path)
    except OSError as error:
        raise ModelError(Code.CANNOT_READ, f"{path}: {(error.strerror or str(error)).lower()}") from error
    if digest.hex not in vouched:
        fact = f"{path} is in no manifest and no lockfile, and deserializing an engine runs what is in it"
        raise ModelError(Code.NOT_TRUSTED, fact, f"if you know where it comes from, use --trust {digest.hex}")
    return TrustedEngine(path.absolute(), digest, sha256)


def vouched_by_lock(path: Path) -> frozenset[str]:
    """The digests of all engines in a lockfile; empty without one. Raises TrtpipeError when it is damaged."""
    entries = read_lock(path).values()
    return frozenset(match[0] for entry in entries if (match := _HEX.match(str(entry.get("engine", "")))))
