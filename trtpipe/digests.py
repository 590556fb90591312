"""Digests: content addresses of bytes.

A Digest is BLAKE3-256 in hex together with the size in bytes. BLAKE3 and not SHA-256 because models and
engines are large and it is several times faster on the machines that build them. Independent of what
the bytes mean.
"""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

_PARALLEL_FROM = 4 << 20  # below this, starting threads costs more than it saves
_WINDOW = 32 << 20
"""Mapped at a time: mapped pages count as this process's memory, and a model has gigabytes."""
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """BLAKE3-256 of some bytes (64 hex digits) and how many bytes they are."""

    hex: str
    size: int

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex) or self.size < 0:
            raise ValueError(f"not a digest: {self.hex!r} of {self.size} bytes")

    @property
    def short(self) -> str:
        """The first 12 hex digits, for display."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.hex}/{self.size}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest written as `HEX/SIZE`. Raises ValueError."""
        hex_, _, size = text.partition("/")
        return cls(hex_, int(size))


def digest_bytes(data: bytes | bytearray | memoryview) -> Digest:
    """The digest of bytes in memory."""
    return Digest(blake3(data).hexdigest(), len(data))


def digest_file(path: Path) -> Digest:
    """The digest of a file, read once through memory maps, on all cores when it is large. Raises OSError."""
    with path.open("rb") as file:  # open() names an unreadable file in its error; the memory map does not
        size = os.fstat(file.fileno()).st_size
        hasher = blake3(max_threads=blake3.AUTO) if size >= _PARALLEL_FROM else blake3()
        if size > _WINDOW:
            for start in range(0, size, _WINDOW):
                _add_window(hasher, file, start, min(_WINDOW, size - start))
        elif size:
            hasher.update_mmap(path)
    return Digest(hasher.hexdigest(), size)


def _add_window(hasher: blake3, file: BinaryIO, start: int, length: int) -> None:
    import mmap  # imported here, because a build with nothing to do digests no large file

    try:
        with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=start) as window:
            hasher.update(window)
    except ValueError:  # it ends before the window does
        raise OSError(errno.EIO, "the file became shorter while it was read", file.name) from None


def same_digest(one: Digest, other: Digest) -> bool:
    """Whether two digests are equal, in constant time."""
    import hmac  # imported here, because a build with nothing to do compares no digests

    return one.size == other.size and hmac.compare_digest(one.hex, other.hex)


def canonical_json(value: object) -> bytes:
    """The unique byte form of a JSON value: sorted keys, no blanks, UTF-8; NaN is rejected. Keys must be text."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def key_of(record: object) -> str:
    """The key of a record: BLAKE3-256, in hex, of its canonical JSON."""
    return blake3(canonical_json(record)).hexdigest()


def is_key(text: str) -> bool:
    """Whether a text could be the key of a record."""
    return _HEX.fullmatch(text) is not None
