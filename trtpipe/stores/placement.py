"""Places a store's bytes elsewhere, without writing them twice if the file system allows: by clone, hard link or copy.

A clone shares blocks but is a separate file (btrfs, XFS, bcachefs), so editing it changes nothing else. A hard link is
the artifact itself; it is read-only, and forcing a write into it damages the artifact, which is detected by its digest
the next time that it is used. Across file systems only a copy is possible.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from trtpipe.files import copy_range, open_beside

_FLUSHED_AT_ONCE = 8
_FICLONE = 0x40049409
"""Linux's ioctl that makes a file share the blocks of another one (ioctl_ficlonerange(2))."""


def place(
    source: Path, target: Path, *, link: bool = True, accept: Callable[[Path], None] = lambda path: None
) -> None:
    """Create `target` atomically with the bytes of `source`, if `accept` does not raise for them. Raises OSError.

    Without `link` it is a separate file: a clone or a copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = open_beside(target)
    try:
        try:
            cloned = try_clone(source, handle)
        finally:
            os.close(handle)
        if not cloned and not (link and _try_link(source, temporary)):
            _copy(source, temporary)
            temporary.chmod(0o644)
        elif cloned:
            temporary.chmod(0o644)
        # The placed bytes are verified, not the source, which could change between the two.
        accept(temporary)
        temporary.replace(target)
    finally:
        # Renaming a link onto another link of the same file leaves both names (POSIX).
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def try_clone(source: Path, handle: int) -> bool:
    """Make the open empty file share the blocks of `source`; returns whether that worked. Raises FileNotFoundError."""
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


def _copy(source: Path, target: Path) -> None:
    """Copy the bytes, in the kernel where it can, and flush them."""
    with source.open("rb") as old, target.open("wb") as new:
        copy_range(old, new, 0, os.fstat(old.fileno()).st_size)
        new.flush()
        os.fsync(new.fileno())


def flush(path: Path) -> None:
    """Flush a file's bytes to the disk. Raises OSError."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_all(paths: Collection[Path]) -> None:
    """Flush files at the same time: a file system with a journal writes that once for all of them. Raises OSError."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_FLUSHED_AT_ONCE, thread_name_prefix="flush") as pool:
        list(pool.map(flush, paths))


@contextlib.contextmanager
def flushing(path: Path) -> Iterator[None]:
    """Flush a large file while the context does something else with it, so that storing it need not wait for that."""

    def work() -> None:
        with contextlib.suppress(OSError):  # storing it flushes again, and then reports the error
            flush(path)

    thread = threading.Thread(target=work, name="flush")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _try_link(source: Path, temporary: Path) -> bool:
    temporary.unlink()
    try:
        os.link(source, temporary)
    except OSError:
        return False
    return True
