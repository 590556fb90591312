"""Atomic file writes: temporary file, flush, rename. Independent of the content.

A temporary file is created beside its target and has the writing process in its name, so that the next writer can
remove what a killed process left behind. The same holds for temporary directories.

`shutil` and `tempfile` are imported where they are used: with them, importing this module takes ten times as long.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_OURS = "trtpipe-"
_PIECE = 4 << 20
_IN_KERNEL = 64 << 10
"""From this many bytes on, copying within the kernel is worth its system calls."""
_AT_ONCE = 64 << 20  # a signal is handled between two calls
_NOT_HERE = frozenset(
    (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY)
)
"""What copy_file_range(2) says where a file system or a sandbox does not have it."""
_NAME_BYTES = 100  # a temporary file's name must stay below the 255 bytes of file systems


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Writes a file atomically: a reader sees the old content or the new. Raises OSError."""
    with whole_file(path, data, durable=durable):
        pass


@contextlib.contextmanager
def whole_file(path: Path, data: bytes, *, durable: bool) -> Iterator[Path]:
    """A file that appears under its name when the context ends without an error; gives the one that becomes it.

    If it is not `durable`, it is not flushed to the disk here. Raises OSError.
    """
    handle, temporary = open_beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            # The data must be on disk before the rename, or a power failure could leave an empty file under
            # the final name.
            if durable:
                file.flush()
                os.fsync(file.fileno())
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def is_disk_full(error: OSError) -> bool:
    """Whether there was no room: on the disk, or in what the user may fill of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_special(path: Path) -> bool:
    """Whether something exists that is not a regular file: reading a pipe would block, a device would be replaced."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read_regular(path: Path, most: int) -> bytes:
    """The contents of an untrusted regular file. Raises OSError, also if it is larger than `most`."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", str(path))
        return file.read()


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading. Raises OSError, also for a device or a pipe, which would block."""
    # O_NONBLOCK: opening a pipe without a writer would block. The type is checked on the open file, so that
    # the path cannot be replaced in between.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(handle, "rb")


def open_beside(path: Path) -> tuple[int, Path]:
    """A new temporary file in the directory of `path`, open for writing. Raises OSError.

    Also removes temporary files there that killed processes of this machine left.
    """
    import tempfile

    prefix = f".{os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])}."
    sweep_files(path.parent)
    handle, name = tempfile.mkstemp(prefix=prefix + owner_prefix(), dir=path.parent)
    return handle, Path(name)


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A new directory beside `path`, which is renamed or else removed afterwards. Raises OSError.

    Also removes those that killed processes of this machine left beside it.
    """
    import shutil
    import tempfile

    prefix = f".{os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])}."
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in [one for one in entries if one.name.startswith(prefix) and _is_left(one.name)]:
            if _is_mine(entry):
                shutil.rmtree(entry.path, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=prefix + owner_prefix(), dir=path.parent))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def sweep_files(folder: Path) -> int:
    """Remove the temporary files in a directory that processes of this machine left when they were killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(".") and _is_left(entry.name)]
        for name in left:
            Path(name).unlink(missing_ok=True)
        return len(left)
    return 0


def _is_left(name: str) -> bool:
    """Whether a file's name was given by `open_beside` in a process that has ended."""
    host = f"{_host()}-"
    _, dot, rest = name.rpartition(f".{host}")
    return bool(dot) and owner_is_dead(host + rest)


def copy_range(source: BinaryIO, target: BinaryIO, offset: int, length: int) -> int:
    """Appends `length` bytes of `source`, from `offset` on, to `target`; returns how many there were. Raises OSError.

    Within the kernel where it can: the bytes do not pass through this process, and file systems with clones share them.
    """
    done = _copy_in_kernel(source, target, offset, length)
    if done < length:
        source.seek(offset + done)
    while done < length and (piece := source.read(min(_PIECE, length - done))):
        target.write(piece)
        done += len(piece)
    return done


def _copy_in_kernel(source: BinaryIO, target: BinaryIO, offset: int, length: int) -> int:
    if sys.platform != "linux" or length < _IN_KERNEL:
        return 0
    target.flush()
    begin, done = target.tell(), 0
    try:
        while done < length:
            most = min(_AT_ONCE, length - done)
            moved = os.copy_file_range(source.fileno(), target.fileno(), most, offset + done, begin + done)
            if not moved:
                break
            done += moved
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    target.seek(begin + done)
    return done


@contextlib.contextmanager
def temporary_folder(purpose: str, *, ignore_cleanup_errors: bool = False) -> Iterator[Path]:
    """A new directory in the system's temporary folder, removed afterwards. Raises OSError.

    Also removes directories that killed trtpipe processes left on this machine.
    """
    import tempfile

    _sweep_temporary(Path(tempfile.gettempdir()))
    prefix = f"{_OURS}{purpose}-{owner_prefix()}"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=ignore_cleanup_errors) as made:
        yield Path(made)


@functools.cache  # once in a process: a folder of many thousand entries takes longer than what is done in ours
def _sweep_temporary(folder: Path) -> None:
    import shutil

    host = f"{_host()}-"
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        named = [entry for entry in entries if entry.name.startswith(_OURS) and f"-{host}" in entry.name]
        for entry in named:
            rest = entry.name.rpartition(f"-{host}")[2]
            if owner_is_dead(host + rest) and _is_mine(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_mine(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory of this user: in a shared folder anybody can choose such a name."""
    found = entry.stat(follow_symlinks=False)
    return stat.S_ISDIR(found.st_mode) and (os.name == "nt" or found.st_uid == os.getuid())


def owner_prefix() -> str:
    """`HOST-PID-nNAMESPACE-` of this process, for the names of files that should not outlive it."""
    return f"{_host()}-{os.getpid()}-n{_namespace()}-"


def owner_is_dead(name: str, *, anywhere: bool = False) -> bool:
    """Whether a name with an `owner_prefix` belongs to a process of this machine that has ended.

    Processes in other containers count as alive, because process ids mean something else there, unless the caller has
    another way to tell and sets `anywhere`.
    """
    pid = owner_of(name)
    if pid is None or _alive(pid):
        return False
    told = re.match(rf"{re.escape(_host())}-\d+-n(\d+)-", name)
    return anywhere or told is None or told[1] == _namespace()


def _host() -> str:
    import socket  # imported here, because a build with nothing to do writes no file

    return socket.gethostname()


def _namespace() -> str:
    """The PID namespace in which process ids are valid; 0 if there is only one."""
    try:
        return "".join(filter(str.isdecimal, str(Path("/proc/self/ns/pid").readlink()))) or "0"
    except OSError:
        return "0"


def owner_of(name: str) -> int | None:
    """The process id in a name with an `owner_prefix`; None when it belongs to another machine or to no process."""
    host = f"{_host()}-"
    pid = name.removeprefix(host).split("-", 1)[0]
    return int(pid) if name.startswith(host) and pid.isdecimal() and pid.isascii() else None


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # on Windows os.kill(pid, 0) ends the process, so leftover files are not swept there
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def place_file(path: Path, target: Path, *, scratch: Path) -> None:
    """Moves a flushed file to `target` atomically, even across file systems. Raises OSError."""
    import shutil
    import tempfile

    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A rename works only within one file system, so the file is copied to `scratch`, which is on the
        # target's.
        handle, name = tempfile.mkstemp(prefix=owner_prefix(), dir=scratch)
        os.close(handle)
        shutil.copyfile(path, name)
        with Path(name).open("rb") as file:
            os.fsync(file.fileno())
        Path(name).chmod(0o444)
        Path(name).replace(target)
        path.unlink()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock file `path` among the processes of a machine; if it cannot be created, continues without.

    For short work on files that are written whole anyway: the lock keeps two writers from undoing each other.
    """
    from filelock import FileLock

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path, thread_local=False))
        yield
