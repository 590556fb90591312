"""The normalised digest of an engine: it ignores generated names, which may differ between equal builds.

TensorRT's graph compiler names symbols `__mye<digits>`, numbered in the order of pointers. Two builds that did the
same work may therefore differ in those digits, and for many networks only in them: the worker keeps pointers equal
across interpreters and with randomised addresses, but not with a limited address space, nor on systems that place
memory differently. For other networks more depends on the pointers, and this digest differs too. Here every such
name is replaced by its rank of first appearance before hashing. Nothing else of an engine's layout is interpreted.

The digest is BLAKE3-256 of the bytes with the `digits` of each `__mye<digits>` replaced by `#<rank>;`, ranks in
decimal from 0. Other names and numbers are unchanged.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from blake3 import blake3

_NAME = re.compile(rb"__mye([0-9]+)")
_PARALLEL_FROM = 4 << 20
"""Bytes from which on all cores are worth starting: what follows the last name is nearly all of a large engine."""


def normalised_digest(path: Path) -> str:
    """BLAKE3-256, in hex, of an engine's bytes after renaming generated names. Raises OSError.

    Reads the file once, through a memory map.
    """
    if not path.stat().st_size:
        return blake3(b"").hexdigest()  # mmap does not accept an empty file
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _digest(data)


def _digest(data: mmap.mmap) -> str:
    ranks: dict[bytes, int] = {}
    hasher = blake3(max_threads=blake3.AUTO) if len(data) >= _PARALLEL_FROM else blake3()
    with memoryview(data) as view:
        done = 0
        for name in _NAME.finditer(data):
            hasher.update(view[done : name.start(1)])
            hasher.update(b"#%d;" % ranks.setdefault(name[1], len(ranks)))
            done = name.end(1)
        hasher.update(view[done:])
    return hasher.hexdigest()
