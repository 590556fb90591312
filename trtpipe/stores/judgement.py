"""Checks the text of a trace that somebody else wrote: its signature, if keys are trusted, then the rest."""

from __future__ import annotations

import errno
from collections.abc import Collection
from pathlib import Path

from trtpipe.files import read_regular
from trtpipe.plan.trace import Trace
from trtpipe.stores.signatures import FIELD, verified
from trtpipe.stores.strangers import MOST_BYTES, Untrusted, believed, parse

_SEAL = "blake3"
"""What the files of a local store have besides."""


def text_of(path: Path) -> bytes:
    """The text of a trace's file. Raises Untrusted for a file that would block or exhaust memory, and OSError."""
    try:
        return read_regular(path, MOST_BYTES)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EFBIG):
            raise Untrusted(str(error.strerror)) from error
        raise


def vouched(text: bytes, key: str, trusted: Collection[str], *, fetched: bool | None = None) -> Trace:
    """The trace for that key. If there are trusted keys, one of them must have signed it.

    The content of a remote file is accepted only from signed traces, unless `fetched` says otherwise. Raises Untrusted,
    Unsigned, and SpecError when the package that verifies signatures is missing.
    """
    data = parse(text)
    data.pop(_SEAL, None)
    if trusted:
        data = verified(data, trusted)
    else:
        data.pop(FIELD, None)
    return believed(data, key, fetched=bool(trusted) if fetched is None else fetched)
