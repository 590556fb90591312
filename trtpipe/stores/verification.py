"""Reads every artifact and trace of a store again and quarantines those that do not match their name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from trtpipe.digests import Digest
from trtpipe.errors import ArtifactDamaged, ArtifactMissing
from trtpipe.stores.local import LocalStore
from trtpipe.stores.survey import Artifact, artifacts_of, survey

_AT_ONCE = 2
"""Files read at a time: few, because digesting a large artifact already uses all cores."""


@dataclass(slots=True)
class Verified:
    """What was found; `bytes` is the amount read."""

    artifacts: int = 0
    traces: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    """What is damaged, one sentence each."""
    incomplete: list[str] = field(default_factory=list)
    """Keys of traces that yielded an artifact which is not here: it is fetched or made again where it is needed."""


def verify(store: LocalStore) -> Verified:
    """Read everything. Raises StoreError when something cannot be read at all."""
    found = Verified()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for one, wrong in pool.map(lambda one: (one, _wrong(store, one)), artifacts_of(store)):
            found.artifacts += 1
            found.bytes += one.size
            found.damaged += [wrong] if wrong else []
    seen = survey(store)
    for path in seen.damaged:
        store.put_aside(path, f"trace {path.stem[:12]}")
        found.damaged.append(f"trace {path.stem[:12]} is damaged")
    found.traces = len(seen.traces)
    found.incomplete = [
        one.trace.key
        for one in seen.traces.values()
        if not all(map(store.has_here, one.trace.outputs.values()))
    ]
    store.warnings.clear()
    return found


def _wrong(store: LocalStore, one: Artifact) -> str | None:
    try:
        store.path(Digest(one.hex, one.size))
    except ArtifactDamaged as error:
        return error.problems[0].fact
    except ArtifactMissing:  # a collector has just removed it
        return None
    return None
