"""A local store with others behind it: shared directories that are only read, and a remote.

What is asked for is looked for here, then in the shared stores in their order, then in the remote. An artifact of a
shared store is used where it lies. A trace of the remote is kept here; an artifact only when its bytes are needed, so a
build that needs no engine fetches none. What is made goes into the local store, and to the remote, in the background,
once the step that made it has succeeded.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from trtpipe.digests import Digest
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, StoreError, TrtpipeError
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.stores.faults import mapped
from trtpipe.stores.local import LocalStore
from trtpipe.stores.remote import Remote

_AT_ONCE = 16
"""Requests to a remote that wait at the same time; each holds a piece or a part of an object."""
_UPLOADS = _DOWNLOADS = 4


class LayeredStore(LocalStore):
    """The store of a project that shares one with others."""

    def __init__(
        self,
        root: Path,
        *,
        shared: Sequence[LocalStore] = (),
        remote: Remote | None = None,
        project: Path | None = None,
        lock_files: bool = False,
    ) -> None:
        super().__init__(root, project=project, lock_files=lock_files)
        self.shared = tuple(shared)
        self.remote = remote
        self._damaged: set[tuple[Path, str]] = set()
        self._downloads: dict[str, threading.Lock] = {}
        self._mutex = threading.Lock()
        self._uploads: ThreadPoolExecutor | None = None
        self._sending: list[Future[None]] = []

    def has(self, digest: Digest) -> bool:
        """Whether it is here, or can be had."""
        if super().has(digest) or self._shared_with(digest) is not None:
            return True
        return self.remote is not None and self.remote.offers(digest)

    def has_here(self, digest: Digest) -> bool:
        """Whether it is here, without asking the remote."""
        return super().has(digest) or self._shared_with(digest) is not None

    def path(self, digest: Digest) -> Path:
        """Where an artifact's bytes are on this machine, verified; the remote's are fetched."""
        if not super().has(digest):
            store = self._shared_with(digest)
            while store is not None:
                try:
                    return store.path(digest)
                except (ArtifactDamaged, ArtifactMissing) as error:
                    self._note_damage(store, digest, error)
                store = self._shared_with(digest)
            self._bring(digest)
        return super().path(digest)

    def fetch(self, digest: Digest, target: Path, *, link: bool = True) -> None:
        """Put the artifact's verified bytes at `target`."""
        if not super().has(digest):
            store = self._shared_with(digest)
            while store is not None:
                try:
                    store.fetch(digest, target, link=link)
                except (ArtifactDamaged, ArtifactMissing) as error:
                    self._note_damage(store, digest, error)
                else:
                    return
                store = self._shared_with(digest)
            self._bring(digest)
        super().fetch(digest, target, link=link)

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, wherever it is."""
        found = super().trace(key)
        for store in self.shared if found is None else ():
            found = found or store.trace(key)
        if found is None and self.remote is not None:
            found = self.remote.trace(key)
            if found is not None:
                with contextlib.suppress(StoreError):  # a store that cannot be written still reads
                    self._write_trace(found, durable=False)
        return found

    @property
    def is_shared(self) -> bool:
        """Whether there is a remote that is worth asking."""
        return self.remote is not None and self.remote.is_up

    def prefetch(self, keys: Iterable[str]) -> None:
        """Ask the remote for many traces at once: one after the other they would take a round trip each."""
        if not self.is_shared:
            return
        missing = [key for key in dict.fromkeys(keys) if not self._has_trace(key)]
        if missing:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self.trace, missing))

    def pull(self, digests: Collection[Digest], *, strict: bool = True) -> None:
        """Bring artifacts here that are not, several at a time.

        Raises ArtifactMissing and StoreError; unless it is `strict`, what cannot be had is left to who needs it.
        """

        def bring(digest: Digest) -> None:
            with contextlib.suppress(*(() if strict else (ArtifactMissing,))):
                self._bring(digest)

        missing = [one for one in dict.fromkeys(digests) if not self.has_here(one)]
        if missing and self.remote is not None:
            with ThreadPoolExecutor(_DOWNLOADS) as pool:
                list(pool.map(bring, missing))

    def record(self, trace: Trace) -> None:
        """Remember a trace, and send it and its artifacts away in the background."""
        super().record(trace)
        self.push(trace)

    def push(self, trace: Trace) -> None:
        """Send a trace and its artifacts away in the background, if the remote takes them."""
        if self.remote is None or not self.remote.takes(trace):
            return
        with self._mutex:
            if self._uploads is None:
                self._uploads = ThreadPoolExecutor(_UPLOADS, thread_name_prefix="upload")
            self._sending.append(self._uploads.submit(self._send, trace))

    def _send(self, trace: Trace) -> None:
        assert self.remote is not None
        # What a collector has taken since, or what turns out damaged, is not sent.
        with contextlib.suppress(ArtifactMissing, ArtifactDamaged):
            self.remote.send(trace, super().path)

    def settle(self, *, give_up: bool = False) -> None:
        """Wait for what is being sent; what has not begun is left to `cache push` when it is to `give_up`.

        Raises StoreError when the remote is required and did not take it.
        """
        if self._uploads is None:
            return
        self._uploads.shutdown(wait=True, cancel_futures=give_up)
        sending, self._sending, self._uploads = self._sending, [], None
        for one in sending:
            if not one.cancelled():
                one.result()

    def _bring(self, digest: Digest) -> None:
        """Fetch an artifact from the remote into the local store, once however many ask for it."""
        if self.remote is None:
            raise ArtifactMissing(Code.NO_ARTIFACT, f"the store {self.root} has no artifact {digest.short}")
        with self._mutex:
            lock = self._downloads.setdefault(digest.hex, threading.Lock())
        with lock:
            if super().has(digest):
                return
            with self.scratch() as scratch, mapped(self.root):
                self.remote.fetch(digest, scratch / "artifact")
                self.put(scratch / "artifact")

    def _has_trace(self, key: str) -> bool:
        return any(store.trace_path(key).exists() for store in (self, *self.shared))

    def _shared_with(self, digest: Digest) -> LocalStore | None:
        """The first shared store that has an artifact, and not a damaged one."""
        return next(
            (one for one in self.shared if (one.root, digest.hex) not in self._damaged and one.has(digest)),
            None,
        )

    def _note_damage(self, store: LocalStore, digest: Digest, error: TrtpipeError) -> None:
        self._damaged.add((store.root, digest.hex))
        if isinstance(error, ArtifactDamaged):
            self.warnings.append(f"{error.problems[0].fact}; it is made again where it is needed")
