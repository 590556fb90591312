"""Puts a store's bytes somewhere else without writing them twice where the file system can: a clone, a link, a copy.

A clone shares blocks and is a file of its own (btrfs, XFS, bcachefs): who edits it changes nothing else. A hard link
is the artifact itself; it is read-only, and whoever forces a write into it damages the artifact, which its digest tells
the next time that it is used. A copy is what is left across file systems.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from trtpipe.files import open_beside

_FICLONE = 0x40049409
"""Linux's ioctl that makes a file share the blocks of another one (ioctl_ficlonerange(2))."""


def place(
    source: Path, target: Path, *, link: bool = True, accept: Callable[[Path], None] = lambda path: None
) -> None:
    """Make `target` appear whole with the bytes of `source`, once `accept` did not raise for them. Raises OSError.

    Without `link` it is a file of its own: a clone or a copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = open_beside(target)
    try:
        try:
            cloned = try_clone(source, handle)
        finally:
            os.close(handle)
        if not cloned and not (link and _try_link(source, temporary)):
            shutil.copyfile(source, temporary)
            flush(temporary)
            temporary.chmod(0o644)
        elif cloned:
            temporary.chmod(0o644)
        accept(temporary)
        temporary.replace(target)
    finally:
        # Renaming a link onto another link of the same file leaves both names (POSIX).
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def try_clone(source: Path, handle: int) -> bool:
    """Whether the open empty file now shares the blocks of `source`. Raises FileNotFoundError."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    with source.open("rb") as file:
        try:
            fcntl.ioctl(handle, _FICLONE, file.fileno())
        except OSError:
            return False
    return True


def flush(path: Path) -> None:
    """Have a file's bytes on the disk. Raises OSError."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _try_link(source: Path, temporary: Path) -> bool:
    temporary.unlink()
    try:
        os.link(source, temporary)
    except OSError:
        return False
    return True
