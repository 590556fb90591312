"""Releases the resident pages of mapped files, so that of several loaded models only the running one takes memory.

ONNX Runtime maps large weights from their files and keeps every page that it has read. An unmodified page can be read
from the file again when needed, usually from the system's page cache, so results cannot change. Modified pages are
kept; on systems other than Linux nothing happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_SMALLEST = 1 << 20  # smaller mappings are not worth a system call
_DONT_NEED = 4
_DATA = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (?:[r-][w-]-p|r--s) \S+ \S+ [1-9]\d* ")
"""A private mapping of a file, or a shared one that is only read: NumPy maps a file of samples like that."""


def let_go_of_mapped_pages() -> int:
    """Release the file pages of this process that can be read again; returns how many bytes were mapped there.

    Call it only while no thread writes to mapped files.
    """
    if not sys.platform.startswith("linux"):
        return 0
    freed = 0
    with contextlib.suppress(OSError, AttributeError):
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for start, end in _unwritten():
            freed += (end - start) * (advise(start, end - start, _DONT_NEED) == 0)
    return freed


def _unwritten() -> Iterator[tuple[int, int]]:
    """The large file mappings without modified pages, because modified pages would be lost."""
    mapping: re.Match[str] | None = None
    for line in Path("/proc/self/smaps").read_text(errors="replace").splitlines():
        if "-" in line.split(" ", 1)[0]:
            mapping = _DATA.match(line)
        elif mapping is not None and line.split() == ["Anonymous:", "0", "kB"]:
            start, end = (int(text, 16) for text in mapping.groups())
            if end - start >= _SMALLEST:
                yield start, end
