"""The local store: a directory of artifacts by digest and traces by key.

    objects/ab/abcd…      an artifact, read-only, named by its BLAKE3
    traces/ab/abcd….json  a trace, named by its key; its mtime is the time of its last use
    from/…                traces from other places, a folder for each (`kept.py`)
    locks/abcd….lock      held while the action of that key runs
    locks/removing.lock   held briefly to remove an artifact, or to rely on an existing one
    projects/…            the projects that use this store, for the collector
    tmp/partial-abcd…/    an unfinished download of that key
    tmp/HOST-PID-…/       scratch directories, each locked while in use; those of dead processes are swept
    quarantine/           artifacts whose bytes do not match their digest, and damaged traces

Every write goes to tmp/, is flushed to disk and renamed. What may be removed is decided in `collector.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.digests import Digest, digest_bytes, digest_file, is_key, same_digest
from trtpipe.errors import ArtifactDamaged, ArtifactMissing
from trtpipe.files import owner_prefix, place_file, whole_file, write_whole
from trtpipe.json_values import JsonObject
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.stores.faults import mapped, store_error
from trtpipe.stores.marks import lay_mark, refuse_other_schema
from trtpipe.stores.placement import flush, flush_all, place
from trtpipe.stores.scratches import claimed, remove_older, sweep, sweep_written
from trtpipe.stores.strangers import Untrusted
from trtpipe.stores.traces import TraceReader, note_use, readable, written_trace
from trtpipe.stores.verified_files import Known, VerifiedFiles

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from trtpipe.stores.leases import FileLease

SCHEMA = 1
_POLL_SECONDS = 0.2
_PARTIAL = "partial-"
_PARTIAL_SECONDS = 14 * 24 * 3600


class LocalStore:
    """A store in one directory, shared safely by any number of processes on a file system with locks.

    `project` is the project that uses it, for the collector. With `lock_files`, locks are files (`leases.py`), for
    network file systems without working locks. A `read_only` store is never written to, not even to quarantine damaged
    files.
    """

    def __init__(
        self, root: Path, *, project: Path | None = None, lock_files: bool = False, read_only: bool = False
    ) -> None:
        self.root = root
        self.warnings: list[str] = []
        """What was found damaged and put aside, since somebody last took note."""
        self.sign: Callable[[JsonObject], JsonObject] | None = None
        """Signs what is recorded here, for those who read this directory and trust the key."""
        self.word = ""
        """Whose word it takes besides its own: another one means that what was taken before is asked anew."""
        self.verified: VerifiedFiles | None = None
        """Which artifacts need not be read to be placed; None in a store that its user did not choose."""
        self._project = project
        self._lock_files = lock_files
        self._read_only = read_only
        self._opened = False
        self._reader = TraceReader()

    def has(self, digest: Digest) -> bool:
        """Whether an artifact with that digest and size is there; its bytes are not read."""
        try:
            found = self.object_path(digest).stat()
            return stat.S_ISREG(found.st_mode) and found.st_size == digest.size
        except OSError:
            return False

    def has_here(self, digest: Digest) -> bool:
        """Whether it is on this machine, without asking a remote."""
        return self.has(digest)

    def path(self, digest: Digest) -> Path:
        """A path to an artifact's bytes, verified. Raises ArtifactMissing or ArtifactDamaged."""
        path = self.object_path(digest)
        try:
            found = digest_file(path)
        except FileNotFoundError:
            raise self._missing(digest) from None
        except OSError as error:
            raise store_error(self.root, error) from error
        if not same_digest(found, digest):
            fact = f"artifact {digest.short} in the store {self.root} is damaged: its bytes are {found.short}"
            aside = self._quarantine(path, fact)
            raise ArtifactDamaged(
                Code.ARTIFACT_DAMAGED,
                fact,
                "build again" if aside else "make the store writable and build again",
            )
        return path

    def put(self, path: Path, digest: Digest | None = None) -> Digest:
        """Move a file, whose digest may be known, into the store: `path` is gone afterwards. Raises StoreError."""
        with mapped(self.root):
            self._open()
            digest = digest or digest_file(path)
            if self._is_new(path, digest):
                flush(path)
                self._place(path, digest)
        return digest

    def _is_new(self, path: Path, digest: Digest) -> bool:
        """Whether the store lacks a file with this digest; one that it has is removed."""
        target = self.object_path(digest)
        if self._holds(target, digest) and self._relied_on(target):
            path.unlink()
            return False
        return True

    def _place(self, path: Path, digest: Digest) -> None:
        """Give a flushed file its name."""
        target = self.object_path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(0o444)
        place_file(path, target, scratch=self.root / "tmp")

    def fetch(self, digest: Digest, target: Path, *, link: bool = True) -> None:
        """Put the artifact's verified bytes at `target`: a clone or a hard link where the file system allows it.

        The placed copy is what gets verified. It is not read if the user's own store has verified the artifact before
        and nothing has touched the file since.
        """
        source = self.object_path(digest)
        known = Known(self.verified, digest, source)

        def accept(placed: Path) -> None:
            if not known.is_untouched(placed) and not same_digest(digest_file(placed), digest):
                self.path(digest)  # raises the error that describes the artifact's problem
                raise OSError(errno.EIO, "the copy differs from the artifact", str(target))

        if not source.exists():
            raise self._missing(digest)
        with mapped(target):
            try:
                place(source, target, link=link, accept=accept)
            except FileNotFoundError:
                if source.exists():
                    raise
                raise self._missing(digest) from None
        known.note()

    def _missing(self, digest: Digest) -> ArtifactMissing:
        return ArtifactMissing(Code.NO_ARTIFACT, f"the store {self.root} has no artifact {digest.short}")

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, or None; a damaged one is quarantined and counts as absent."""
        if not is_key(key):  # a damaged record may contain anything
            return None
        path = self.trace_path(key)
        try:
            trace = self._reader.read(path, key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise store_error(self.root, error) from error
        except Untrusted as error:
            self._quarantine(path, f"trace {key[:12]} in the store {self.root} is damaged: {error}")
            return None
        if not self._read_only:
            note_use(path)
        return trace

    def record(self, trace: Trace) -> None:
        """Record a trace. Raises StoreError.

        A trace that could not be read back is a bug; checking here is better than a later build not finding its
        results.
        """
        text = readable(written_trace(trace, self.sign), trace)
        with mapped(self.root):
            self._open()
            path = self.trace_path(trace.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)

    def keep(self, files: Mapping[str, Path], trace_of: Callable[[Mapping[str, Digest]], Trace]) -> Trace:
        """Put the files of a result, and record its trace: as `put` and `record` do, but with one wait for the disk.

        All are flushed at the same time. Then they get their names, the trace the last.
        """
        with mapped(self.root):
            self._open()
            outputs = {name: digest_file(path) for name, path in sorted(files.items())}
        trace = trace_of(outputs)
        text = readable(written_trace(trace, self.sign), trace)
        with mapped(self.root):
            new = {
                digest: files[name] for name, digest in outputs.items() if self._is_new(files[name], digest)
            }
            path = self.trace_path(trace.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path, text, durable=False) as written:
                flush_all([*new.values(), written])
                for digest, file in new.items():
                    self._place(file, digest)
        return trace

    @property
    def is_shared(self) -> bool:
        """Whether there is a remote behind this store that may know more: never here."""
        return False

    def prefetch(self, keys: Iterable[str]) -> None:
        """Nothing to do: all traces of a local store are here already."""

    def pull(self, digests: Collection[Digest], *, strict: bool = True) -> None:
        """Nothing to do: a local store has no remote to fetch artifacts from."""

    def settle(self, *, give_up: bool = False) -> None:
        """Nothing to wait for in a local store."""

    def open(self) -> None:
        """Make sure that the store is writable. Raises StoreError."""
        with mapped(self.root):
            self._open()
            if not os.access(self.root / "tmp", os.W_OK):
                raise PermissionError(errno.EACCES, "not allowed", str(self.root))

    @contextlib.contextmanager
    def lock(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Lock the action of that key, so that of all processes that share the store only one runs it."""
        from filelock import Timeout

        with mapped(self.root):
            self._open()
        lock = self._lock(key)
        while True:
            try:
                lock.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS / 4)
                break
            except Timeout:
                waiting()
            except OSError as error:
                raise store_error(self.root, error) from error
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def removing(self) -> Iterator[None]:
        """Hold the short lock under which artifacts are removed. Raises OSError."""
        with self._lock("removing"):
            yield

    def forget_locks(self, before: float) -> int:
        """Remove action locks made before that time that nobody holds; returns how many there were."""
        from filelock import Timeout

        folder, found = self.root / "locks", 0
        for path in folder.glob("?" * 64 + ".lock"):
            with contextlib.suppress(FileNotFoundError, Timeout, PermissionError):
                if path.stat().st_mtime < before:
                    with self._lock(path.stem).acquire(timeout=0):
                        path.unlink()  # a process that waits for this lock notices that its file is gone, and retries
                    found += 1
        return found

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty directory on the store's file system, removed at the end."""
        with mapped(self.root):
            self._open()
            path = Path(tempfile.mkdtemp(prefix=owner_prefix(), dir=self.root / "tmp"))
        with claimed(path):
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)

    def partial(self, key: str) -> Path:
        """A directory for unfinished work on that key (such as a download), for the holder of its lock.

        It outlives the process, so that the next one can resume; directories that stay unused for long are removed.
        """
        with mapped(self.root):
            self._open()
            folder = self.root / "tmp" / f"{_PARTIAL}{key}"
            folder.mkdir(exist_ok=True)
            os.utime(folder)
            remove_older(folder.parent, f"{_PARTIAL}*", time.time() - _PARTIAL_SECONDS)
        return folder

    def forget_partial(self, key: str) -> None:
        """Remove that directory."""
        shutil.rmtree(self.root / "tmp" / f"{_PARTIAL}{key}", ignore_errors=True)

    def object_path(self, digest: Digest) -> Path:
        """The file of an artifact, if it exists."""
        return self.root / "objects" / digest.hex[:2] / digest.hex

    def trace_path(self, key: str) -> Path:
        """The file of a trace, if it exists."""
        return self.root / "traces" / key[:2] / f"{key}.json"

    def projects(self) -> list[Path]:
        """The roots of the projects that use this store, as far as they are known."""
        found = []
        for path in sorted((self.root / "projects").glob("?" * 16)):
            with contextlib.suppress(OSError):
                found.append(Path(os.fsdecode(path.read_bytes())))
        return found

    def _lock(self, name: str) -> FileLease | BaseFileLock:
        path = self.root / "locks" / f"{name}.lock"
        if self._lock_files:
            from trtpipe.stores.leases import FileLease

            return FileLease(path)
        from filelock import FileLock

        return FileLock(path, thread_local=False)

    def _holds(self, target: Path, digest: Digest) -> bool:
        """Whether the store has exactly these bytes already; a damaged copy is quarantined."""
        if not self.has(digest):
            return False
        with contextlib.suppress(FileNotFoundError):
            if same_digest(digest_file(target), digest):
                return True
            self._quarantine(target, f"artifact {digest.short} in the store {self.root} is damaged")
        return False

    def _relied_on(self, target: Path) -> bool:
        """Make an existing artifact look new to the collector; returns whether it still exists.

        Setting its mode changes only its ctime. Its mtime must stay: delivered hard links share it, and builds
        recognise delivered files by it.
        """
        with self.removing():
            try:
                target.chmod(0o444)
            except FileNotFoundError:
                return False
            except OSError:  # the file belongs to another user, so it is replaced by our own copy
                return False
        return True

    def put_aside(self, path: Path, what: str) -> None:
        """Move a damaged file of this store into quarantine."""
        self._quarantine(path, f"{what} in the store {self.root} is damaged")

    def _quarantine(self, path: Path, fact: str) -> bool:
        """Move a damaged file into quarantine; in a read-only store it stays, and its digest still protects."""
        aside = self.root / "quarantine"
        if self._read_only:
            return False
        try:
            aside.mkdir(exist_ok=True)
            path.replace(aside / f"{path.name}.{os.getpid()}")
        except OSError:
            return False
        self.warnings.append(f"{fact}; it was put into quarantine and is made again where it is needed")
        return True

    def _open(self) -> None:
        """Create the directories and remove what dead processes left; once, before the first write."""
        if self._opened:
            return
        lay_mark(self.root, SCHEMA)
        for name in ("objects", "traces", "locks", "tmp"):
            (self.root / name).mkdir(exist_ok=True)
        refuse_other_schema(self.root, SCHEMA)
        self.introduce()
        sweep(self.root / "tmp")
        sweep_written(self.root)
        self._opened = True

    def introduce(self) -> None:
        """Register the project, so that the collector reads its lockfile even if a build only reads. Raises OSError."""
        if self._project is None or not self.root.is_dir():
            return
        folder, path = self.root / "projects", os.fsencode(self._project)
        folder.mkdir(exist_ok=True)
        name = folder / digest_bytes(path).hex[:16]
        try:
            os.utime(name)
        except FileNotFoundError:
            write_whole(name, path, durable=False)
