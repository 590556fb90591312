"""A store shared with others, in a bucket: traces and artifacts, named by keys and digests only.

    v1/traces/ab/abcd….json    a trace, possibly signed
    v1/objects/ab/abcd…        an artifact, as `packs.py` writes it

A remote only saves work, so any problem with it (unreachable, slow, unauthorised, wrong or incomplete data) produces
one warning and the build continues locally; with `required` it is an error. If the remote fails as a whole, it is not
used again by this process; if one object is wrong, that object counts as absent and is uploaded again after it was
made.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from blake3 import blake3

from trtpipe.digests import Digest, canonical_json, same_digest
from trtpipe.errors import ArtifactMissing, Problem, StoreError, TrtpipeError
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.stores.buckets import Absent, Bucket, Unusable
from trtpipe.stores.judgement import vouched
from trtpipe.stores.packs import Wrong, packed, unpacked
from trtpipe.stores.signatures import Unsigned, signed
from trtpipe.stores.strangers import MOST_BYTES, Untrusted, is_shared

_LAYOUT = "v1"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a remote is used for, and which keys it is trusted with."""

    writes: bool = False
    required: bool = False
    trusted: tuple[str, ...] = ()
    """Public keys; if there are any, a trace without a signature of one of them counts as absent."""
    secret: str = ""
    """The key that traces are signed with; empty: no signature."""

    @property
    def fetched(self) -> bool:
        """Whether traces of remote files (the content of addresses and pins) are exchanged too."""
        return bool(self.trusted)


@dataclass(slots=True)
class Traffic:
    """Transfer counts; `sent` and `received` count artifacts, `bytes_*` their plain bytes."""

    traces_received: int = 0
    traces_sent: int = 0
    received: int = 0
    sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0


def _forget(key: str, text: bytes) -> None:
    """The default of `keep`: does not store the trace."""


@dataclass(slots=True)
class Remote:
    """One remote, for one process; thread-safe."""

    open_bucket: Callable[[], Bucket]
    shown: str
    """Its address as shown to the user."""
    terms: Terms
    warn: Callable[[str], None]
    place: str | None = None
    """The remote's identity, by default its address; empty: its traces are not stored locally."""
    keep: Callable[[str, bytes], None] = _forget
    """Called with the original text of each trusted trace."""
    traffic: Traffic = field(default_factory=Traffic)
    _bucket: Bucket | None = None
    _down: bool = False
    _told: bool = False
    _mutex: threading.RLock = field(default_factory=threading.RLock)
    _traces: dict[str, Trace | None] = field(default_factory=dict)
    _objects: dict[str, bool] = field(default_factory=dict)
    """By digest in hex, whether the remote has it, as far as known."""
    _wrong: set[str] = field(default_factory=set)
    """Names of objects in the remote that are damaged or wrong."""

    @property
    def is_up(self) -> bool:
        """Whether it can still be used."""
        return not self._down

    def require(self, required: bool) -> None:
        """Set whether problems with it are errors."""
        self.terms = replace(self.terms, required=required)

    def stop(self) -> None:
        """Stop using it, without a message."""
        self._down = True

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, if there is a trusted one. Raises StoreError when the remote is required."""
        if key in self._traces or self._down:
            return self._traces.get(key)
        found = None
        with self._using(None):
            try:
                found = self._believed(key)
            except Absent:
                pass
            except (Untrusted, Unsigned) as error:
                self._wrong.add(_trace_name(key))
                self._tell(f"its trace {key[:12]} is ignored: {error}")
        self._traces[key] = found
        if found is not None:
            with self._mutex:
                self.traffic.traces_received += 1
            for digest in found.outputs.values():
                self._objects.setdefault(digest.hex, True)
        return found

    def _believed(self, key: str) -> Trace:
        text = self._opened().read(_trace_name(key), MOST_BYTES)
        found = self.judged(text, key)
        self.keep(key, text)
        return found

    def judged(self, text: bytes, key: str) -> Trace:
        """The trace for that key from text received from here now or earlier. Raises Untrusted, Unsigned, SpecError."""
        return vouched(text, key, self.terms.trusted)

    def doubt(self, key: str, why: Exception) -> None:
        """Warn once that a stored trace is no longer trusted. Raises StoreError when the remote is required."""
        self._tell(f"its trace {key[:12]}, which was kept, is ignored: {why}")

    def offers(self, digest: Digest) -> bool:
        """Whether it claims to have an artifact: one of its traces names it, or it confirms it when asked."""
        if digest.hex not in self._objects and not self._down:
            there = False
            with self._using(None):
                there = self._opened().has(_object_name(digest))
            self._objects[digest.hex] = there
        return not self._down and self._objects.get(digest.hex, False)

    def fetch(self, digest: Digest, target: Path) -> None:
        """Write an artifact's verified bytes to `target`. Raises ArtifactMissing, OSError."""
        fact = f"{self.shown} has no artifact {digest.short}"
        if self._down or not self.offers(digest):
            raise ArtifactMissing(Code.NO_ARTIFACT, fact)
        with self._using(ArtifactMissing(Code.NO_ARTIFACT, fact)):
            try:
                self._receive(digest, target)
            except Absent:
                self._lost(digest, "it is not there, though a trace names it")
                raise ArtifactMissing(Code.NO_ARTIFACT, fact) from None
            except Wrong as error:
                self._lost(digest, str(error))
                raise ArtifactMissing(Code.NO_ARTIFACT, fact) from None
            return
        raise ArtifactMissing(Code.NO_ARTIFACT, fact)

    def _receive(self, digest: Digest, target: Path) -> None:
        hasher, size = blake3(), 0
        with target.open("wb") as file:
            for piece in unpacked(self._opened().stream(_object_name(digest), digest.size), digest.size):
                file.write(piece)
                hasher.update(piece)
                size += len(piece)
        if not same_digest(Digest(hasher.hexdigest(), size), digest):
            raise Wrong(f"its bytes are {hasher.hexdigest()[:12]}")
        with self._mutex:
            self.traffic.received += 1
            self.traffic.bytes_received += size

    def _lost(self, digest: Digest, why: str) -> None:
        self._objects[digest.hex] = False
        self._wrong.add(_object_name(digest))
        self._tell(f"its artifact {digest.short} is ignored: {why}")

    def takes(self, trace: Trace) -> bool:
        """Whether a trace is of a kind that is sent there."""
        return (
            self.terms.writes and not self._down and is_shared(trace.fingerprint, fetched=self.terms.fetched)
        )

    def send(self, trace: Trace, path_of: Callable[[Digest], Path]) -> bool:
        """Upload a trace's artifacts that are not there yet, then the trace. Raises StoreError when required.

        So a trace is never there before its artifacts, and an interrupted push continues with what is missing. Returns
        whether everything is there now.
        """
        if not self.takes(trace):
            return False
        try:
            text = self._written(trace)
        except ValueError:  # the summary has NaN or infinity, which other JSON readers reject
            return False
        with self._using(None):
            name = _trace_name(trace.key)
            anew = name in self._wrong
            for digest in sorted(set(trace.outputs.values())):
                anew |= _object_name(digest) in self._wrong
                self._send_artifact(digest, path_of)
            if anew or not self._opened().has(name):
                self._opened().write(name, lambda: iter([text]), len(text))
                with self._mutex:
                    self.traffic.traces_sent += 1
                self._wrong.discard(name)
            return True
        return False

    def send_artifacts(self, digests: Iterable[Digest], path_of: Callable[[Digest], Path]) -> None:
        """Upload artifacts that it lacks, without a trace that names them. Raises StoreError when it cannot be used."""
        with self._using(StoreError(Code.REMOTE_STORE, f"the remote store {self.shown} takes no artifacts")):
            for digest in dict.fromkeys(digests):
                self._send_artifact(digest, path_of)

    def expect(self, digests: Iterable[Digest]) -> None:
        """Note that somebody else has just uploaded these artifacts."""
        for digest in digests:
            self._objects[digest.hex] = True

    def _written(self, trace: Trace) -> bytes:
        data = trace.to_json()
        canonical_json(data)
        if self.terms.secret:
            data = signed(data, self.terms.secret)
        return json.dumps(data, ensure_ascii=False).encode()

    def _send_artifact(self, digest: Digest, path_of: Callable[[Digest], Path]) -> None:
        name = _object_name(digest)
        if name not in self._wrong and self._opened().has(name):
            return
        path = path_of(digest)
        _, size = packed(path, digest)
        self._opened().write(name, lambda: packed(path, digest)[0], size)
        self._objects[digest.hex] = True
        self._wrong.discard(name)
        with self._mutex:
            self.traffic.sent += 1
            self.traffic.bytes_sent += digest.size

    def _opened(self) -> Bucket:
        with self._mutex:
            if self._bucket is None:
                self._bucket = self.open_bucket()
            return self._bucket

    @contextmanager
    def _using(self, otherwise: TrtpipeError | None) -> Iterator[None]:
        """Handles an unusable remote: an error if it is required, else one warning, and `otherwise` if given."""
        try:
            yield
        except Unusable as error:
            self._down = True
            self._tell(error.fact, error.remedy, rest="; what it holds is built here instead")
            if otherwise is not None:
                raise otherwise from error

    def _tell(self, fact: str, remedy: str = "", *, rest: str = "") -> None:
        """Raise when the remote is required, else warn once, because the same problem usually occurs very often."""
        text = f"the remote store {self.shown}: {fact}"
        if self.terms.required:
            raise StoreError(
                Problem(
                    Code.REMOTE_STORE, text, remedy or "build without --require-remote to go on without it"
                )
            )
        with self._mutex:
            if self._told:
                return
            self._told = True
        self.warn(text + rest + (f" ({remedy})" if remedy else ""))


def _trace_name(key: str) -> str:
    return f"{_LAYOUT}/traces/{key[:2]}/{key}.json"


def _object_name(digest: Digest) -> str:
    return f"{_LAYOUT}/objects/{digest.hex[:2]}/{digest.hex}"
