"""The digest of an engine up to generated names: what stays equal where the bytes may not.

TensorRT's graph compiler names symbols `__mye<digits>`, numbered in the order of pointers. Two builds that did the
same work may therefore differ in those digits, and of many networks in them alone: the worker keeps pointers equal
across interpreters and with randomised addresses, but not below a limit of address space, nor on any system that
places memory differently. Of other networks more follows the pointers, and this digest differs too. Here every such
name is replaced by its rank of first appearance before hashing. This module knows nothing else of an engine's layout.

The form that is hashed, with BLAKE3-256: the bytes as they stand, but for `digits` in each `__mye<digits>`,
replaced by `#<rank>;`, ranks in decimal from 0. Other names and numbers stay.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

_MARK = b"__mye"
_DIGITS = re.compile(rb"[0-9]+")


def normalised_digest(path: Path) -> str:
    """BLAKE3-256, in hex, of an engine's bytes after renaming generated names. Raises OSError.

    Reads the file once through a memory map; less than 0.1 s for 100 MB.
    """
    if not path.stat().st_size:
        return blake3(b"").hexdigest()  # an empty file cannot be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _digest(data)


def _digest(data: mmap.mmap) -> str:
    ranks: dict[bytes, int] = {}
    hasher = blake3()
    with memoryview(data) as view:
        done = 0
        for start, digits in _names(data):
            hasher.update(view[done:start])
            hasher.update(b"#%d;" % ranks.setdefault(digits, len(ranks)))
            done = start + len(digits)
        hasher.update(view[done:])
    return hasher.hexdigest()


def _names(data: mmap.mmap) -> Iterator[tuple[int, bytes]]:
    """Where the digits of each generated name start, and the digits."""
    at = data.find(_MARK)
    while at >= 0:
        start = at + len(_MARK)
        digits = _DIGITS.match(data, start)
        if digits:
            yield start, digits[0]
        at = data.find(_MARK, start)
