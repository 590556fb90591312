"""Judges the text of a trace that somebody else wrote: its signature, if keys are trusted, then everything else."""

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
    """What a trace's file holds. Raises Untrusted for what would be waited for or fill the memory, and OSError."""
    try:
        return read_regular(path, MOST_BYTES)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EFBIG):
            raise Untrusted(str(error.strerror)) from error
        raise


def vouched(text: bytes, key: str, trusted: Collection[str], *, fetched: bool | None = None) -> Trace:
    """The trace for that key; where keys are trusted, one of them signed it.

    What an address came to is taken from those who sign, unless `fetched` says otherwise. Raises Untrusted, Unsigned,
    and SpecError when a package is missing that tells.
    """
    data = parse(text)
    data.pop(_SEAL, None)
    if trusted:
        data = verified(data, trusted)
    else:
        data.pop(FIELD, None)
    return believed(data, key, fetched=bool(trusted) if fetched is None else fetched)
