"""Files that appear whole or not at all: temporary file, flush, rename. Knows nothing of their content."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file in one piece; a reader sees the old content or the new. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def place_file(path: Path, target: Path, *, scratch: Path) -> None:
    """Move a flushed file to `target`, whole, even across file systems. Raises OSError."""
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        handle, name = tempfile.mkstemp(dir=scratch)
        os.close(handle)
        shutil.copyfile(path, name)
        with Path(name).open("rb") as file:
            os.fsync(file.fileno())
        Path(name).chmod(0o444)
        Path(name).replace(target)
        path.unlink()
