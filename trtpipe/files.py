"""Files that appear whole or not at all: temporary file, flush, rename. Knows nothing of their content.

A temporary file stands beside its target and carries the name of the process that writes it, so that the next
writer of that target removes what a killed one left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NAME_BYTES = 100  # a temporary file's name must stay below the 255 bytes of file systems


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file in one piece; a reader sees the old content or the new. Raises OSError."""
    handle, temporary = open_beside(path)
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


def is_special(path: Path) -> bool:
    """Whether something is there that is no regular file: a pipe would be waited for, a device replaced."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def open_beside(path: Path) -> tuple[int, Path]:
    """A new temporary file in the directory of `path`, open for writing. Raises OSError.

    Removes those for the same `path` that processes of this machine left when they were killed.
    """
    prefix = f".{os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])}."
    with os.scandir(path.parent) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(prefix)]
    for name in left:
        if owner_is_dead(Path(name).name.removeprefix(prefix)):
            with contextlib.suppress(OSError):
                Path(name).unlink()
    handle, name = tempfile.mkstemp(prefix=prefix + owner_prefix(), dir=path.parent)
    return handle, Path(name)


def owner_prefix() -> str:
    """`HOST-PID-` of this process, for the names of what dies with it."""
    import socket  # a build with nothing to do writes nothing

    return f"{socket.gethostname()}-{os.getpid()}-"


def owner_is_dead(name: str) -> bool:
    """Whether a name with an `owner_prefix` is that of a process of this machine which is gone."""
    pid = owner_of(name)
    return pid is not None and not _alive(pid)


def owner_of(name: str) -> int | None:
    """The process id in a name with an `owner_prefix`; None when it is another machine's, or nobody's."""
    import socket

    host = f"{socket.gethostname()}-"
    pid = name.removeprefix(host).split("-", 1)[0]
    return int(pid) if name.startswith(host) and pid.isdecimal() and pid.isascii() else None


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end the process there; what is left is swept by hand
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


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


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file `path` among the processes of a machine; where none can be made, go on without.

    For short work on files that are written whole anyway: the lock keeps two writers from undoing each other.
    """
    from filelock import FileLock

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path, thread_local=False))
        yield
