"""The local store: a directory of artifacts by digest and traces by key.

    objects/ab/abcd…      an artifact, read-only, named by its BLAKE3
    traces/ab/abcd….json  a trace, named by its key
    locks/abcd….lock      held while the action of that key runs
    tmp/HOST-PID-…/       scratch directories; those of dead processes are swept
    quarantine/           artifacts whose bytes were not what their name says

Every write goes to tmp/, is flushed to disk and renamed. Knows nothing of what artifacts mean.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from trtpipe.digests import Digest, digest_file, same_digest
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, StoreError
from trtpipe.files import place_file, write_whole
from trtpipe.plan.trace import Trace

SCHEMA = 1
_POLL_SECONDS = 0.2


class LocalStore:
    """A store in one directory, shared safely by any number of processes on a file system with locks."""

    def __init__(self, root: Path) -> None:
        self.root = root
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
            self._quarantine(path)
            raise ArtifactDamaged(
                f"artifact {digest.short} in the store {self.root} is damaged: its bytes are {found.short}",
                "it was put into quarantine and will be made again",
            )
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
        """The trace of a key, or None; one that cannot be understood counts as none."""
        try:
            return Trace.from_json(json.loads(self._trace(key).read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        except OSError as error:
            raise _store_error(self.root, error) from error

    def record(self, trace: Trace) -> None:
        """Remember a trace. Raises StoreError."""
        with _mapped(self.root):
            self._open()
            path = self._trace(trace.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(trace.to_json(), indent=1, ensure_ascii=False).encode())

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
            path = Path(tempfile.mkdtemp(prefix=_owner_prefix(), dir=self.root / "tmp"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

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
        self._quarantine(target)
        return False

    def _quarantine(self, path: Path) -> None:
        aside = self.root / "quarantine"
        with contextlib.suppress(OSError):  # a read-only store keeps its damage; the digest still protects
            aside.mkdir(exist_ok=True)
            path.replace(aside / f"{path.name}.{os.getpid()}")

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
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
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


def _owner_prefix() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-"


def _sweep(folder: Path) -> None:
    """Remove the scratch directories of processes of this machine that are gone."""
    host = socket.gethostname()
    for path in folder.iterdir():
        owner, _, rest = path.name.partition(f"{host}-")
        pid = rest.split("-", 1)[0]
        if owner == "" and pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end the process there; what is left is swept by hand
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


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
    return StoreError(f"{place}: {what.lower()} ({error.filename or 'no file named'})")
