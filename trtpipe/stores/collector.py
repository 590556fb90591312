"""The garbage collector: which traces and artifacts may be removed, and how to do so safely while builds run.

A trace is kept when a root names it, when it was requested recently, or when its artifacts were inputs of a trace that
is kept; an artifact is kept when a kept trace yielded it or was made from it. Of everything that no root needs, the
size limit removes the least recently used first.

While a build runs, nothing is removed that the build could not make again, and nothing that it is about to record:

- Traces are removed before artifacts, so a collector that dies leaves artifacts without a trace, never the reverse.
- An artifact's new trace may not have been written yet. So an artifact stays for a grace period from its ctime on,
  which `put` renews when it finds the artifact present. The collector's check and removal happen under one short lock,
  and so does the renewal; `put` therefore either renews the artifact before the collector checks it, or finds it gone
  and stores it again.
- If a trace or an artifact is removed after a build has decided to use it, the build makes it again: the scheduler does
  that with anything that is lost.

Times are those of the store's own file system, read from a file that is touched in it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from trtpipe.errors import StoreError
from trtpipe.files import owner_prefix
from trtpipe.problem_codes import Code
from trtpipe.stores.faults import mapped
from trtpipe.stores.local import LocalStore
from trtpipe.stores.scratches import remove_older
from trtpipe.stores.survey import Artifact, Survey, TraceFile, inputs_of, stage_of, survey

GRACE_SECONDS = 3600.0
_LEAST_SECONDS = 24 * 3600.0
_BATCH = 64
"""How many files are removed each time that the lock is held."""


@dataclass(frozen=True, slots=True)
class Roots:
    """What must be kept: the keys of traces and the digests, in hex, of artifacts."""

    keys: frozenset[str] = frozenset()
    artifacts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds since its last use after which a trace is removed, and the bytes that artifacts may take; None: no limit.

    `grace`: how long an artifact stays that no kept trace names, since it was stored, linked to or last relied on.
    """

    older_than: float | None = None
    max_size: int | None = None
    grace: float = GRACE_SECONDS


@dataclass(slots=True)
class Collected:
    """The result of a collection; sizes in bytes."""

    traces: list[str] = field(default_factory=list)
    """Names of the removed (or removable) traces: for those made here, their keys."""
    artifacts: list[str] = field(default_factory=list)
    freed: int = 0
    kept: int = 0
    """The size of the artifacts that stay."""
    needed: int = 0
    """The part of that which the roots need."""
    young: int = 0
    """The part of that which is still in its grace period."""
    swept: int = 0
    """The number of removed scratch directories, quarantined files and locks that were unused for long."""


def collect(store: LocalStore, roots: Roots, limits: Limits, *, dry_run: bool = False) -> Collected:
    """Remove what is not needed. Raises StoreError when the store is not writable or another collector runs."""
    if not (store.root / "store.json").exists():
        return Collected()
    if dry_run:
        found, now = survey(store), time.time()
        return _judged(found, _Choice(found, roots, limits, now).run(), limits.grace, now)
    store.open()
    with _alone(store), mapped(store.root):
        now = _clock(store)
        found = survey(store)
        result = _judged(found, _Choice(found, roots, limits, now).run(), limits.grace, now)
        _remove(store, found, result)
        result.swept = _sweep(store, limits, now)
    return result


def needed_keys(found: Survey, roots: Roots) -> set[str]:
    """The names of the traces that the roots need: those named, those they were made from, and their validations."""
    return _Choice(found, roots, Limits(), 0.0).needed()


@contextlib.contextmanager
def _alone(store: LocalStore) -> Iterator[None]:
    """Only one collector at a time: two would be safe, but each would report only part of what was removed."""

    class Busy(Exception):
        pass

    def waiting() -> None:
        raise Busy

    try:
        with store.lock("collecting", waiting):
            yield
    except Busy:
        raise StoreError(
            Code.STORE_BUSY, f"another `cache gc` is at work in {store.root}", "wait for it to end"
        ) from None


def _clock(store: LocalStore) -> float:
    """The current time of the store's file system; a file server's clock may differ from this machine's."""
    with tempfile.NamedTemporaryFile(dir=store.root / "tmp", prefix=owner_prefix()) as file:
        return os.fstat(file.fileno()).st_mtime


@dataclass(slots=True)
class _Choice:
    """Chooses the traces that stay."""

    found: Survey
    roots: Roots
    limits: Limits
    now: float
    makers: dict[str, list[TraceFile]] = field(default_factory=dict)
    """By digest in hex, the traces that yielded it."""

    def __post_init__(self) -> None:
        for one in self.found.traces.values():
            for digest in one.trace.outputs.values():
                self.makers.setdefault(digest.hex, []).append(one)

    def run(self) -> _Kept:
        needed = self.needed()
        used = self._used()
        oldest = self.now - self.limits.older_than if self.limits.older_than is not None else None
        recent = {key for key, at in used.items() if oldest is None or at >= oldest}
        kept = needed | recent
        if self.limits.max_size is not None:
            kept = self._within(self.limits.max_size, needed, kept, used)
        return _Kept(kept, needed, self.roots.artifacts)

    def needed(self) -> set[str]:
        """The traces that the roots name, all that they were made from, and the validations of needed results."""
        live = {one.name for one in self.found.traces.values() if one.trace.key in self.roots.keys}
        live |= {one.name for hex_ in self.roots.artifacts for one in self.makers.get(hex_, ())}
        live = self._with_makers(live)
        made = {hex_ for key in live for hex_ in self.found.traces[key].artifacts}
        for one in self.found.traces.values():
            inputs = {hex_ for hex_ in inputs_of(one.trace) if hex_ in self.makers}
            if stage_of(one.trace) == "validate" and inputs and inputs <= made:
                live.add(one.name)
        return live

    def _with_makers(self, keys: Iterable[str]) -> set[str]:
        seen, waiting = set(keys), list(keys)
        while waiting:
            for hex_ in self.found.traces[waiting.pop()].artifacts:
                for maker in self.makers.get(hex_, ()):
                    if maker.name not in seen:
                        seen.add(maker.name)
                        waiting.append(maker.name)
        return seen

    def _used(self) -> dict[str, float]:
        """When each trace was last used: when it, or a trace that was made from it, was requested."""
        used: dict[str, float] = {}
        for one in sorted(self.found.traces.values(), key=lambda one: -one.used):
            if one.name not in used:
                for key in self._unseen(one.name, used):
                    used[key] = one.used
        return used

    def _unseen(self, key: str, seen: Collection[str]) -> set[str]:
        """The trace and all that it was made from, without those in `seen`, which were used at least as recently."""
        found, waiting = {key}, [key]
        while waiting:
            for hex_ in inputs_of(self.found.traces[waiting.pop()].trace):
                for maker in self.makers.get(hex_, ()):
                    if maker.name not in found and maker.name not in seen:
                        found.add(maker.name)
                        waiting.append(maker.name)
        return found

    def _within(self, most: int, needed: set[str], kept: set[str], used: dict[str, float]) -> set[str]:
        """The needed traces, then the most recently used ones, until the size is reached."""
        chosen: set[str] = set()
        artifacts: set[str] = set(self.roots.artifacts)
        size = sum(self._size(hex_) for hex_ in artifacts)
        order = [*sorted(needed), *sorted(kept - needed, key=lambda key: -used[key])]
        for key in order:
            more = self.found.traces[key].artifacts - artifacts
            grown = size + sum(self._size(hex_) for hex_ in more)
            if key not in needed and grown > most:
                break
            chosen.add(key)
            artifacts |= more
            size = grown
        return chosen

    def _size(self, hex_: str) -> int:
        known = self.found.artifacts.get(hex_)
        return known.size if known else 0


@dataclass(frozen=True, slots=True)
class _Kept:
    traces: set[str]
    needed: set[str]
    pinned: frozenset[str]


def _judged(found: Survey, kept: _Kept, grace: float, now: float) -> Collected:
    """What is removed when `kept` stays."""
    result = Collected([key for key in found.traces if key not in kept.traces])
    held = {hex_ for key in kept.traces for hex_ in found.traces[key].artifacts} | kept.pinned
    needed = {hex_ for key in kept.needed for hex_ in found.traces[key].artifacts} | kept.pinned
    for one in found.artifacts.values():
        if one.hex in held or one.seen > now - grace:
            result.kept += one.size
            result.needed += one.size if one.hex in needed else 0
            result.young += one.size if one.hex not in held else 0
        else:
            result.artifacts.append(one.hex)
            result.freed += one.size
    return result


def _remove(store: LocalStore, found: Survey, result: Collected) -> None:
    spared: set[str] = set()
    for key in list(result.traces):
        one = found.traces[key]
        if _was_used(one):
            result.traces.remove(key)
            spared |= one.artifacts
        else:
            one.path.unlink(missing_ok=True)
    for path in found.damaged:
        path.unlink(missing_ok=True)
    for first in range(0, len(result.artifacts), _BATCH):
        with store.removing():
            batch = [found.artifacts[hex_] for hex_ in result.artifacts[first : first + _BATCH]]
            spared |= {one.hex for one in batch if one.hex not in spared and not _remove_artifact(one)}
    if store.verified is not None:
        store.verified.forget(result.artifacts)
    for hex_ in spared.intersection(result.artifacts):
        result.artifacts.remove(hex_)
        result.freed -= found.artifacts[hex_].size
        result.kept += found.artifacts[hex_].size


def _was_used(one: TraceFile) -> bool:
    """Whether it was requested, or written again, since the survey."""
    try:
        return one.path.stat().st_mtime > one.used
    except FileNotFoundError:
        return False


def _remove_artifact(one: Artifact) -> bool:
    """Remove it, unless a build has started to rely on it since the survey."""
    with contextlib.suppress(FileNotFoundError):
        now = one.path.stat()
        # `put` renews the ctime of an artifact that it finds, and linking changes it too.
        if max(now.st_ctime, now.st_mtime) > one.seen:
            return False
        one.path.unlink()
    return True


def _sweep(store: LocalStore, limits: Limits, now: float) -> int:
    """Remove leftovers that nobody used for as long as a trace may stay unused, at least a day."""
    before = now - max(limits.older_than or 0.0, _LEAST_SECONDS)
    return (
        remove_older(store.root / "tmp", "*", before)
        + remove_older(store.root / "quarantine", "*", before)
        + store.forget_locks(before)
    )
