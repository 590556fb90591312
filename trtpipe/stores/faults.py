"""Turns file system errors in a store into errors with a remedy."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from trtpipe.errors import StoreError
from trtpipe.problem_codes import Code


@contextlib.contextmanager
def mapped(place: Path) -> Iterator[None]:
    """Turn an OSError raised inside into a StoreError about `place`."""
    try:
        yield
    except OSError as error:
        raise store_error(place, error) from error


def store_error(place: Path, error: OSError) -> StoreError:
    """The StoreError for an OSError at `place`."""
    what = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        return StoreError(
            Code.DISK_FULL,
            f"no space left on the device that holds {place}",
            "nothing was lost; free some space, or point $TRTPIPE_STORE to another disk, and build again",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(
            Code.STORE_REFUSED,
            f"cannot write to {error.filename or place}: {what.lower()}",
            "what it holds can still be used; to build anything new, point $TRTPIPE_STORE to a directory "
            "that you may write",
        )
    remedy = ""
    if error.errno in (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP):
        remedy = "another file is there: move it away and build again"
    return StoreError(Code.STORE_REFUSED, f"{place}: {what.lower()}" + _at(error, place), remedy)


def _at(error: OSError, place: Path) -> str:
    return f" ({error.filename})" if error.filename and str(error.filename) != str(place) else ""
