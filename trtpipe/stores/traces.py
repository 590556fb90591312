"""The file format of a trace: its JSON object, possibly a signature, and a digest of both."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.digests import digest_bytes
from trtpipe.json_values import JsonObject
from trtpipe.plan.trace import Trace
from trtpipe.stores.judgement import text_of
from trtpipe.stores.signatures import FIELD
from trtpipe.stores.strangers import Untrusted, checked, parse

_SETTLED_NS = 50_000_000
"""Several ticks of the coarsest file system clock: a change within one tick may go unnoticed."""
_TOUCH_SECONDS = 6 * 3600
"""The resolution of a trace's time of last use, so that large builds do not write for every step."""
_MOST_REMEMBERED = 64 << 20

_Seen = tuple[int, int, int]
"""Size, mtime in nanoseconds and inode."""


def written_trace(trace: Trace, sign: Callable[[JsonObject], JsonObject] | None = None) -> bytes:
    """The file's text, signed if `sign` is given.

    JSON has neither infinities nor NaN: they are written as strings, which `read_trace` accepts.
    """
    data: JsonObject = trace.to_json()
    try:
        _digest_of(data)
    except ValueError:
        data = _spelled(data)
    if sign is not None:
        data = sign(data)
    digest = _digest_of(data)
    return json.dumps({**data, "blake3": digest}, indent=1, ensure_ascii=False).encode()


def read_trace(text: bytes, key: str) -> Trace:
    """The trace for that key. Raises Untrusted."""
    data = parse(text)
    if data.pop("blake3", None) != _digest_of(data):
        raise Untrusted("its digest is another")
    # the signature is for other readers of this directory; the owner trusts the store anyway
    data.pop(FIELD, None)
    return checked(data, key)


def readable(text: bytes, trace: Trace) -> bytes:
    """The text of a trace that `read_trace` accepts. Raises AssertionError if it would not."""
    try:
        read_trace(text, trace.key)
    except Untrusted as error:
        raise AssertionError(f"the trace of {trace.address} cannot be read again: {error}") from error
    return text


def load_trace(path: Path, key: str) -> Trace:
    """The trace in a file. Raises Untrusted, OSError."""
    return read_trace(text_of(path), key)


@dataclass(slots=True)
class TraceReader:
    """Reads traces and caches them until their file changes, because cells that share steps request the same ones.

    The cache ends with the process, so that nothing stored in a store or a project can claim that a trace was checked.
    """

    _known: dict[Path, tuple[_Seen, Trace]] = field(default_factory=dict)
    _size: int = 0

    def read(self, path: Path, key: str) -> Trace:
        """The trace in a file. Raises Untrusted, OSError."""
        seen = _seen(path)
        known = self._known.get(path)
        if known is not None and known[0] == seen:
            return known[1]
        trace = load_trace(path, key)
        if _seen(path) == seen and time.time_ns() - seen[1] > _SETTLED_NS:
            self._remember(path, seen, trace)
        return trace

    def _remember(self, path: Path, seen: _Seen, trace: Trace) -> None:
        self._size += seen[0]
        if self._size > _MOST_REMEMBERED:
            self._known.clear()
            self._size = seen[0]
        self._known[path] = (seen, trace)


def _seen(path: Path) -> _Seen:
    found = os.stat(path)  # noqa: PTH116 - thousands of traces are asked for again and again
    return found.st_size, found.st_mtime_ns, found.st_ino


def _spelled(value: Any) -> Any:  # noqa: ANN401 - what JSON holds
    """The value, with numbers that JSON lacks (infinities, NaN) as strings."""
    if isinstance(value, dict):
        return {name: _spelled(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _digest_of(data: JsonObject) -> str:
    return digest_bytes(json.dumps(data, sort_keys=True, allow_nan=False).encode()).hex


def note_use(path: Path) -> None:
    """Update a trace's mtime, which tells the collector when it was last used."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _TOUCH_SECONDS:
            os.utime(path)
