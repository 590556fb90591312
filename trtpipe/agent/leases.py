"""Leases of GPUs: at any time one piece of work on this machine has a GPU, whichever agent of whichever user it is for.

A lease is a lock on a file in a directory where every user may make files but removes only their own, such as
/run/lock. Such a file may be anybody's: it is never followed if it is a link, never written to, and only opened for
reading, which a lock does not need more than. Whoever can log in can keep a GPU leased, as they can keep it busy.

Containers see each other's leases only if they share that directory.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trtpipe.digests import digest_bytes
from trtpipe.errors import ToolchainError
from trtpipe.plan.control import Control
from trtpipe.problem_codes import Code

_PLACES = ("/run/lock", "/tmp")
_OF_ALL = stat.S_ISVTX | stat.S_IWOTH
_POLL_SECONDS = 0.05


def lease_folder() -> Path:
    """Where this machine's leases are: the same directory for all users, except on Windows."""
    for place in map(Path, _PLACES):
        with contextlib.suppress(OSError):
            if place.stat().st_mode & _OF_ALL == _OF_ALL:
                return place
    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def leased(folder: Path, gpu: str, control: Control) -> Iterator[None]:
    """Hold the lease of a GPU. Raises Interrupted when `control` says so meanwhile, and ToolchainError."""
    path = folder / f"trtpipe-gpu-{digest_bytes(gpu.encode()).hex[:16]}.lock"
    take = _by_filelock if os.name == "nt" else _by_flock
    with take(path, control):
        yield


@contextlib.contextmanager
def _by_flock(path: Path, control: Control) -> Iterator[None]:
    handle = _opened(path)
    try:
        while not _locks(handle):
            control.cancelled.wait(_POLL_SECONDS)
            control.check()
        if _is_at(handle, path):
            yield
            return
    finally:
        os.close(handle)
    with _by_flock(path, control):  # its owner removed the file meanwhile, and the lease is on another one
        yield


def _opened(path: Path) -> int:
    """A file that belongs to whoever was first to lease this GPU. Raises ToolchainError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with contextlib.suppress(FileExistsError):
            # Never O_CREAT alone: a kernel may refuse to open another user's file there with it.
            made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(made, 0o644)  # whatever the umask is, other users must be able to open it
            return made
        handle = os.open(path, flags)
    except OSError as error:
        raise ToolchainError(
            Code.CANNOT_RUN_HERE, f"a GPU cannot be leased by {path}: {error.strerror}"
        ) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ToolchainError(Code.CANNOT_RUN_HERE, f"a GPU cannot be leased by {path}: it is no regular file")
    return handle


def _locks(handle: int) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.lstat())
    return False


@contextlib.contextmanager
def _by_filelock(path: Path, control: Control) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path, thread_local=False)
    while True:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=_POLL_SECONDS)
            break
        control.check()
    try:
        yield
    finally:
        lock.release()
