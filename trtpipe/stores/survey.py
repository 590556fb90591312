"""Lists what a local store holds: its traces and artifacts, and when each was last used.

Reads names, sizes and traces; artifact contents are read only to verify them. What is written meanwhile may or may not
be included.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.digests import Digest
from trtpipe.plan.trace import Trace
from trtpipe.stores.judgement import text_of, vouched
from trtpipe.stores.kept import Kept, kept_places
from trtpipe.stores.local import LocalStore
from trtpipe.stores.strangers import Untrusted
from trtpipe.stores.traces import load_trace

_HEX = frozenset("0123456789abcdef")
_LENGTH = 64


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A trace, its file, and when it was last requested (seconds since 1970)."""

    path: Path
    trace: Trace
    used: float
    place: str = ""
    """Where it came from; empty when it was made on this machine."""

    @property
    def name(self) -> str:
        """Its unique name: its key, prefixed by the place that it came from if it is not this user's own."""
        return f"{self.place}: {self.trace.key}" if self.place else self.trace.key

    @property
    def artifacts(self) -> set[str]:
        """The digests of its outputs and inputs, in hex."""
        made = {digest.hex for digest in self.trace.outputs.values()}
        return made | set(inputs_of(self.trace))


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact's file: its digest in hex, its size, and when it was stored or last relied on."""

    path: Path
    hex: str
    size: int
    seen: float


@dataclass(slots=True)
class Survey:
    """Everything in a store."""

    traces: dict[str, TraceFile] = field(default_factory=dict)
    """By name: those that were made here by their keys."""
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    """By digest in hex."""
    damaged: list[Path] = field(default_factory=list)
    """Trace files that are damaged."""


def inputs_of(trace: Trace) -> Iterator[str]:
    """The digests, in hex, of the action's inputs: artifacts, and files outside the store."""
    inputs = trace.fingerprint.get("inputs")
    for files in inputs.values() if isinstance(inputs, Mapping) else ():
        for text in files.values() if isinstance(files, Mapping) else ():
            yield str(text).partition("/")[0]


def stage_of(trace: Trace) -> str:
    """The stage that made it; `fetch` for traces of remote files."""
    return str(trace.fingerprint.get("stage", "fetch"))


def survey(store: LocalStore) -> Survey:
    """List everything in the store."""
    found = Survey()
    for path in trace_files(store.root):
        with contextlib.suppress(OSError):
            used, trace = path.stat().st_mtime, _trace_in(path)
            if trace is None:
                found.damaged.append(path)
            else:
                found.traces[trace.key] = TraceFile(path, trace, used)
    for kept in kept_places(store.root):
        _survey_kept(kept, found)
    for artifact in artifacts_of(store):
        found.artifacts[artifact.hex] = artifact
    return found


def _trace_in(path: Path) -> Trace | None:
    """The trace in a file; None when it is damaged. Raises OSError."""
    try:
        return load_trace(path, path.stem)
    except Untrusted:
        return None


def _survey_kept(kept: Kept, found: Survey) -> None:
    """List the traces that came from one place; whether they are trusted is decided by their users."""
    for path in _files(kept.folder / "traces", ".json"):
        with contextlib.suppress(OSError):
            one = _kept_trace(path, kept.place)
            if one is None:
                found.damaged.append(path)
            else:
                found.traces[one.name] = one


def _kept_trace(path: Path, place: str) -> TraceFile | None:
    """The trace in a file that came from another place; None when it is damaged. Raises OSError."""
    used = path.stat().st_mtime
    try:
        return TraceFile(path, vouched(text_of(path), path.stem, (), fetched=True), used, place)
    except Untrusted:
        return None


def trace_files(root: Path) -> Iterator[Path]:
    """The trace files in a store's directory, readable or not."""
    yield from _files(root / "traces", ".json")


def artifacts_of(store: LocalStore) -> Iterator[Artifact]:
    """Every artifact, by digest."""
    for path in _files(store.root / "objects", ""):
        try:
            seen = path.stat()
        except OSError:
            continue
        yield Artifact(path, path.name, seen.st_size, max(seen.st_ctime, seen.st_mtime))


def find_artifacts(store: LocalStore, prefix: str) -> list[Digest]:
    """The artifacts whose digest begins with `prefix` (lower-case hex)."""
    paths = _files(store.root / "objects", "", prefix[:2])
    return [Digest(path.name, path.stat().st_size) for path in paths if path.name.startswith(prefix)]


def _files(folder: Path, suffix: str, fan: str = "") -> Iterator[Path]:
    """The files named by 64 hex digits, in folders named by the first two of them."""
    for inner in _sorted(folder):
        if len(inner) != 2 or not _HEX.issuperset(inner) or not inner.startswith(fan):
            continue
        for name in _sorted(folder / inner):
            stem = name.removesuffix(suffix)
            if name.endswith(suffix) and len(stem) == _LENGTH and _HEX.issuperset(stem):
                yield folder / inner / name


def _sorted(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return []
