"""The local store: a directory of artifacts by digest and traces by key.

    objects/ab/abcd…      an artifact, read-only, named by its BLAKE3
    traces/ab/abcd….json  a trace, named by its key
    locks/abcd….lock      held while the action of that key runs
    tmp/partial-abcd…/    what was fetched so far under that key
    tmp/HOST-PID-…/       scratch directories, each locked while in use; those of dead processes are swept
    quarantine/           artifacts whose bytes were not what their name says, and damaged traces

Every write goes to tmp/, is flushed to disk and renamed. Knows nothing of what artifacts mean.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trtpipe.digests import Digest, digest_bytes, digest_file, same_digest
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, StoreError
from trtpipe.files import open_beside, owner_is_dead, owner_of, owner_prefix, place_file, write_whole
from trtpipe.plan.trace import Trace

SCHEMA = 1
_POLL_SECONDS = 0.2
_PARTIAL = "partial-"
_PARTIAL_SECONDS = 14 * 24 * 3600
_STARTED = time.time()


class LocalStore:
    """A store in one directory, shared safely by any number of processes on a file system with locks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: list[str] = []
        """What was found damaged and put aside, since somebody last took note."""
        self._opened = False

    def has(self, digest: Digest) -> bool:
        """Whether an artifact of that digest and size is there; its bytes are not read."""
        try:
            return self._object(digest).stat().st_size == digest.size
        except OSError:
            return False

    def path(self, digest: Digest) -> Path:
        """Where an artifact's bytes are, verified. Raises ArtifactMissing or ArtifactDamaged."""
        path = self._object(digest)
        try:
            found = digest_file(path)
        except FileNotFoundError:
            raise ArtifactMissing(f"the store {self.root} has no artifact {digest.short}") from None
        except OSError as error:
            raise _store_error(self.root, error) from error
        if not same_digest(found, digest):
            fact = f"artifact {digest.short} in the store {self.root} is damaged: its bytes are {found.short}"
            aside = self._quarantine(path, fact)
            raise ArtifactDamaged(fact, "build again" if aside else "make the store writable and build again")
        return path

    def put(self, path: Path) -> Digest:
        """Take a file in: `path` is gone afterwards. Raises StoreError."""
        with _mapped(self.root):
            self._open()
            digest = digest_file(path)
            target = self._object(digest)
            if self._holds(target, digest):
                path.unlink()
                return digest
            target.parent.mkdir(parents=True, exist_ok=True)
            _flush(path)
            path.chmod(0o444)
            place_file(path, target, scratch=self.root / "tmp")
        return digest

    def fetch(self, digest: Digest, target: Path, *, link: bool = True) -> None:
        """Put the artifact's verified bytes at `target`, as a hard link where the file system allows it."""
        source = self.path(digest)
        with _mapped(target):
            link_or_copy(source, target, link=link)

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, or None; a damaged one is put aside and counts as none."""
        path = self._trace(key)
        try:
            trace = _read_trace(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _store_error(self.root, error) from error
        if trace is None or trace.key != key:
            self._quarantine(path, f"trace {key[:12]} in the store {self.root} is damaged")
            return None
        return trace

    def record(self, trace: Trace) -> None:
        """Remember a trace. Raises StoreError."""
        with _mapped(self.root):
            self._open()
            path = self._trace(trace.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, _written_trace(trace))

    def open(self) -> None:
        """Make sure that the store can be written. Raises StoreError."""
        with _mapped(self.root):
            self._open()
            if not os.access(self.root / "tmp", os.W_OK):
                raise PermissionError(errno.EACCES, "not allowed", str(self.root))

    @contextlib.contextmanager
    def lock(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the right to run the action of that key, among all processes that share the store."""
        from filelock import FileLock, Timeout

        with _mapped(self.root):
            self._open()
        lock = FileLock(self.root / "locks" / f"{key}.lock", thread_local=False)
        while True:
            try:
                lock.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS / 4)
                break
            except Timeout:
                waiting()
            except OSError as error:
                raise _store_error(self.root, error) from error
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty directory on the store's file system, removed at the end."""
        with _mapped(self.root):
            self._open()
            path = Path(tempfile.mkdtemp(prefix=owner_prefix(), dir=self.root / "tmp"))
        with _claimed(path):
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)

    def partial(self, key: str) -> Path:
        """A directory for what is made little by little under that key, by whoever holds its lock.

        It outlives the process, so that the next goes on; those that nobody went on with for long are removed.
        """
        with _mapped(self.root):
            self._open()
            folder = self.root / "tmp" / f"{_PARTIAL}{key}"
            for other in folder.parent.glob(f"{_PARTIAL}*"):
                with contextlib.suppress(FileNotFoundError):  # another process may have finished it meanwhile
                    if time.time() - other.stat().st_mtime > _PARTIAL_SECONDS and other != folder:
                        shutil.rmtree(other, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            os.utime(folder)
        return folder

    def forget_partial(self, key: str) -> None:
        """Remove what is left of it."""
        shutil.rmtree(self.root / "tmp" / f"{_PARTIAL}{key}", ignore_errors=True)

    def _object(self, digest: Digest) -> Path:
        return self.root / "objects" / digest.hex[:2] / digest.hex

    def _trace(self, key: str) -> Path:
        return self.root / "traces" / key[:2] / f"{key}.json"

    def _holds(self, target: Path, digest: Digest) -> bool:
        """Whether the store has these very bytes already; a damaged copy is put aside."""
        if not self.has(digest):
            return False
        if same_digest(digest_file(target), digest):
            return True
        self._quarantine(target, f"artifact {digest.short} in the store {self.root} is damaged")
        return False

    def _quarantine(self, path: Path, fact: str) -> bool:
        """Put a damaged file aside; a read-only store keeps its damage, from which the digest still protects."""
        aside = self.root / "quarantine"
        try:
            aside.mkdir(exist_ok=True)
            path.replace(aside / f"{path.name}.{os.getpid()}")
        except OSError:
            return False
        self.warnings.append(f"{fact}; it was put into quarantine and is made again where it is needed")
        return True

    def _open(self) -> None:
        """Make the directories and sweep what dead processes left; once, before the first write."""
        if self._opened:
            return
        for name in ("objects", "traces", "locks", "tmp"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        marker = self.root / "store.json"
        if not marker.exists():
            write_whole(marker, json.dumps({"schema": SCHEMA}).encode())
        self._refuse_other_schema(marker)
        _sweep(self.root / "tmp")
        self._opened = True

    def _refuse_other_schema(self, marker: Path) -> None:
        try:
            schema = json.loads(marker.read_bytes())["schema"]
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                f"{marker} is damaged", "restore it, or point $TRTPIPE_STORE to another directory"
            ) from None
        if schema != SCHEMA:
            raise StoreError(
                f"the store {self.root} has schema {schema}, this trtpipe writes schema {SCHEMA}",
                "use a newer trtpipe, or point $TRTPIPE_STORE to another directory",
            )


def link_or_copy(source: Path, target: Path, *, link: bool = True) -> None:
    """Make `target` appear whole with the bytes of `source`: a hard link, else a copy. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = open_beside(target)
    os.close(handle)
    try:
        if not (link and _try_link(source, temporary)):
            shutil.copyfile(source, temporary)
            _flush(temporary)
            temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        # Renaming a link onto another link of the same file leaves both names (POSIX).
        temporary.unlink(missing_ok=True)


def _try_link(source: Path, temporary: Path) -> bool:
    temporary.unlink()
    try:
        os.link(source, temporary)
    except OSError:
        return False
    return True


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _written_trace(trace: Trace) -> bytes:
    """A trace's file: its JSON object and, in it, the digest of the rest."""
    data = trace.to_json()
    return json.dumps({**data, "blake3": _digest_of(data)}, indent=1, ensure_ascii=False).encode()


def _read_trace(text: bytes) -> Trace | None:
    try:
        data = json.loads(text)
        digest = data.pop("blake3")
        return Trace.from_json(data) if digest == _digest_of(data) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _digest_of(data: dict[str, Any]) -> str:
    return digest_bytes(json.dumps(data, sort_keys=True).encode()).hex


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a scratch directory as this process's own; the system lets go of it when the process dies."""
    handle = _try_claim(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


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
    """Whether it is older than this process and yet has its id, as the first process of a container always has."""
    with contextlib.suppress(OSError):
        return owner_of(path.name) == os.getpid() and path.stat().st_mtime < _STARTED
    return False


def _sweep(folder: Path) -> None:
    """Remove the scratch directories of processes of this machine that are gone.

    The lock decides: a process id says nothing across containers, where other processes have the same one.
    """
    for path in folder.iterdir():
        if not owner_is_dead(path.name) and not _of_a_namesake(path):
            continue
        handle = _try_claim(path)
        if handle is not None:
            os.close(handle)
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _mapped(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _store_error(place, error) from error


def _store_error(place: Path, error: OSError) -> StoreError:
    what = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        return StoreError(
            f"no space left on the device that holds {place}",
            "nothing was lost; free some space, or point $TRTPIPE_STORE to another disk, and build again",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(
            f"cannot write to {error.filename or place}: {what.lower()}",
            "what it holds can still be used; to build anything new, point $TRTPIPE_STORE to a directory "
            "that you may write",
        )
    remedy = ""
    if error.errno in (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP):
        remedy = "something else stands there: move it away and build again"
    return StoreError(f"{place}: {what.lower()}" + _at(error, place), remedy)


def _at(error: OSError, place: Path) -> str:
    return f" ({error.filename})" if error.filename and str(error.filename) != str(place) else ""
