"""Scratch directories that belong to one process: claimed with a lock, and removed by others once nobody holds it."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from trtpipe.files import owner_is_dead, owner_of, sweep_files

_STARTED = time.time()


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock a scratch directory for this process; the system releases the lock when the process dies."""
    handle = _try_claim(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the scratch directories and files of processes of this machine that have ended.

    The lock decides, not the process id: in another container a different process may have the same id.
    """
    for path in folder.iterdir():
        if not owner_is_dead(path.name, anywhere=True) and not _of_a_namesake(path):
            continue
        handle = _try_claim(path)
        if handle is not None:
            os.close(handle)
            _remove(path)


def sweep_written(root: Path) -> None:
    """Remove the temporary files of a store whose writers were killed before the rename, in every folder of it."""
    for folder in (root, root / "projects", *_folders(root / "traces"), *_folders(root / "timing")):
        sweep_files(folder)
    for kept in _folders(root / "from"):
        for folder in (kept, *_folders(kept / "traces")):
            sweep_files(folder)


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def remove_older(folder: Path, pattern: str, before: float) -> int:
    """Remove what matches, was last changed before that time and is not locked; returns how many there were."""
    found = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in list(entries):
            if fnmatch.fnmatchcase(entry.name, pattern):
                found += _remove_if_older(Path(entry.path), before)
    return found


def _remove_if_older(path: Path, before: float) -> bool:
    try:
        if path.lstat().st_mtime >= before:
            return False
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return True
    except OSError:
        return False
    handle = _try_claim(path)
    # Windows has no flock, so there only the age decides.
    if handle is None and os.name != "nt":
        return False
    shutil.rmtree(path, ignore_errors=True)
    if handle is not None:
        os.close(handle)
    return True


def _try_claim(folder: Path) -> int | None:
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _of_a_namesake(path: Path) -> bool:
    """Whether it was left by an earlier process with this process's id, as in containers, where ids repeat."""
    with contextlib.suppress(OSError):
        return owner_of(path.name) == os.getpid() and path.stat().st_mtime < _STARTED
    return False
