"""A local store with others behind it: read-only shared directories, and remotes.

A lookup asks the local store, then the shared stores in their order, then the remotes. An artifact of a shared store is
read in place, and copied for callers that modify it. A trace from a remote is stored locally, separate from the user's
own (`kept.py`), and checked every time it is read (`vouchers.py`). An artifact is downloaded only when its bytes are
needed, so a build that needs no engine downloads none. New results go into the local store and, in the background once
their step has succeeded, to the first remote.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from trtpipe.digests import Digest, digest_bytes
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, TrtpipeError
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.stores.faults import mapped
from trtpipe.stores.kept import Kept
from trtpipe.stores.local import LocalStore
from trtpipe.stores.remote import Remote
from trtpipe.stores.vouchers import AskedRemote, KeptAlone, SharedDirectory, Voucher

_AT_ONCE = 16
"""Concurrent requests to a remote; each holds a piece or a part of an object in memory."""
_UPLOADS = _DOWNLOADS = 4
_KEY = re.compile(r"[0-9a-f]{64}")


class LayeredStore(LocalStore):
    """The store of a project that also trusts other stores; if `trusted` keys are given, their traces must be signed.

    `former` holds the traces of stores that the project used before.
    """

    def __init__(
        self,
        root: Path,
        *,
        shared: Sequence[LocalStore] = (),
        former: Sequence[Kept] = (),
        trusted: tuple[str, ...] = (),
        project: Path | None = None,
        lock_files: bool = False,
    ) -> None:
        super().__init__(root, project=project, lock_files=lock_files)
        self.shared = tuple(shared)
        self._trusted = trusted
        self._nearby: list[Voucher] = [
            *(KeptAlone(one, trusted, self.warnings.append) for one in former),
            *(SharedDirectory(one, trusted, self.warnings.append) for one in self.shared),
        ]
        self._asked: list[AskedRemote] = []
        self._damaged: set[tuple[Path, str]] = set()
        self._downloads: dict[str, threading.Lock] = {}
        self._mutex = threading.Lock()
        self._uploads: ThreadPoolExecutor | None = None
        self._sending: list[Future[None]] = []
        self._note_word()

    @property
    def remote(self) -> Remote | None:
        """The first remote: the one that new results are sent to."""
        return self._asked[0].remote if self._asked else None

    @property
    def remotes(self) -> tuple[Remote, ...]:
        """Every remote, in the order in which they are asked."""
        return tuple(one.remote for one in self._asked)

    def add_remote(self, remote: Remote) -> None:
        """Add another remote to ask."""
        place = remote.shown if remote.place is None else remote.place
        kept = Kept.of(self.root, f"the remote store {place}") if place else None
        self._asked.append(AskedRemote(remote, kept, self.open))
        self._note_word()

    def _note_word(self) -> None:
        places = [str(one.root) for one in self.shared] + [one.remote.shown for one in self._asked]
        places += [one.kept.place for one in self._nearby if isinstance(one, KeptAlone)]
        self.word = digest_bytes(repr((places, sorted(self._trusted))).encode()).hex[:12]

    def _vouchers(self) -> Iterator[Voucher]:
        yield from self._nearby
        yield from self._asked

    def has(self, digest: Digest) -> bool:
        """Whether the artifact is here, or can be fetched."""
        return self.has_here(digest) or any(one.offers(digest) for one in self.remotes)

    def has_here(self, digest: Digest) -> bool:
        """Whether the artifact is here; the remote is not asked."""
        return super().has(digest) or self._shared_with(digest) is not None

    def path(self, digest: Digest) -> Path:
        """A path to the artifact's verified bytes on this machine; fetched from a remote if necessary."""
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
                    store.fetch(digest, target, link=False)  # its owner could write to a link
                except (ArtifactDamaged, ArtifactMissing) as error:
                    self._note_damage(store, digest, error)
                else:
                    return
                store = self._shared_with(digest)
            self._bring(digest)
        super().fetch(digest, target, link=link)

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, from the first place that has a trusted one."""
        found = super().trace(key)
        if found is None and _KEY.fullmatch(key):
            found = next((one for voucher in self._vouchers() if (one := voucher.trace(key))), None)
        return found

    @property
    def is_shared(self) -> bool:
        """Whether there is a remote that can be used."""
        return any(one.is_up for one in self.remotes)

    def prefetch(self, keys: Iterable[str]) -> None:
        """Ask the remotes for many traces at once, because one after the other each would cost a round trip."""
        if not self.is_shared:
            return
        missing = [key for key in dict.fromkeys(keys) if not self._has_trace(key)]
        if missing:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self.trace, missing))

    def pull(self, digests: Collection[Digest], *, strict: bool = True) -> None:
        """Fetch missing artifacts, several at a time.

        Raises ArtifactMissing and StoreError if `strict`; otherwise the error comes later, when a missing one is
        needed.
        """

        def bring(digest: Digest) -> None:
            with contextlib.suppress(*(() if strict else (ArtifactMissing,))):
                self._bring(digest)

        missing = [one for one in dict.fromkeys(digests) if not self.has_here(one)]
        if missing and self._asked:
            with ThreadPoolExecutor(_DOWNLOADS) as pool:
                list(pool.map(bring, missing))

    def record(self, trace: Trace) -> None:
        """Record a trace, and upload it and its artifacts in the background."""
        super().record(trace)
        self.push(trace)

    def keep(self, files: Mapping[str, Path], trace_of: Callable[[Mapping[str, Digest]], Trace]) -> Trace:
        """Put the files of a result, record its trace, and upload them in the background."""
        trace = super().keep(files, trace_of)
        self.push(trace)
        return trace

    def push(self, trace: Trace) -> None:
        """Upload a trace and its artifacts in the background, if the remote accepts them."""
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
        """Wait for uploads. With `give_up`, those that have not begun are dropped; `cache push` can send them later.

        Raises StoreError when the remote is required and did not accept it.
        """
        if self._uploads is None:
            return
        self._uploads.shutdown(wait=True, cancel_futures=give_up)
        sending, self._sending, self._uploads = self._sending, [], None
        for one in sending:
            if not one.cancelled():
                one.result()

    def _bring(self, digest: Digest) -> None:
        """Fetch an artifact from a remote into the local store; concurrent requests for it share one download."""
        with self._mutex:
            lock = self._downloads.setdefault(digest.hex, threading.Lock())
        with lock:
            if super().has(digest):
                return
            for remote in self.remotes:
                with (
                    contextlib.suppress(ArtifactMissing),
                    self.scratch() as scratch,
                    mapped(self.root),
                ):
                    remote.fetch(digest, scratch / "artifact")
                    self.put(scratch / "artifact")
                    return
        asked = "".join(f", nor has {one.shown}" for one in self.remotes)
        raise ArtifactMissing(
            Code.NO_ARTIFACT, f"the store {self.root} has no artifact {digest.short}{asked}"
        )

    def _has_trace(self, key: str) -> bool:
        return self.trace_path(key).exists() or any(one.has(key) for one in self._vouchers())

    def _shared_with(self, digest: Digest) -> LocalStore | None:
        """The first shared store that has an undamaged copy of an artifact."""
        return next(
            (one for one in self.shared if (one.root, digest.hex) not in self._damaged and one.has(digest)),
            None,
        )

    def _note_damage(self, store: LocalStore, digest: Digest, error: TrtpipeError) -> None:
        self._damaged.add((store.root, digest.hex))
        if isinstance(error, ArtifactDamaged):
            self.warnings.append(f"{error.problems[0].fact}; it is made again where it is needed")
