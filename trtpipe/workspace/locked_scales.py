"""The scales that the lockfile holds: a machine whose own would differ takes them, so that all build the same engine.

What a model computes differs in its last digits from one kind of processor to another, and a scale is a maximum or a
threshold of such values. So a calibration that the lockfile knows is not decided anew on each machine: its scales are
taken by their digest, from the store or from a file `calibration/*.scales.json` that was committed. A result that
contradicts the lockfile is not believed while its scales can be had; `build --force` calibrates anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import Digest, same_digest
from trtpipe.lockfile import Lock, StepEntry, digest_in
from trtpipe.lockfile.entries import FROM_LOCK, RECIPE
from trtpipe.lockfile.recipes import recipe_of
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.planner.facts import SCALES_FILE
from trtpipe.plan.trace import Trace
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState

COMMITTED = "calibration/*.scales.json"
"""Where scales may be committed, below the project's root."""


@dataclass(frozen=True, slots=True)
class LockedResult:
    """What the lockfile says of one calibration."""

    scales: Digest
    entry: StepEntry


@dataclass(frozen=True, slots=True)
class LockedScales:
    """The lockfile's scales of one project, found by what they were asked for."""

    by_recipe: Mapping[str, LockedResult]
    store: LocalStore
    state: ProjectState
    root: Path

    def of(self, record: Record) -> LockedResult | None:
        """What the lockfile says of a calibration; None where it knows none of this recipe, or no scales of it."""
        return self.by_recipe.get(recipe_of(record)) if self.by_recipe else None

    def holds(self, digest: Digest) -> bool:
        """Whether scales can be had."""
        return self.store.has(digest) or self._committed(digest) is not None

    def put(self, digest: Digest, target: Path) -> None:
        """Have the scales' verified bytes at `target`. Raises ArtifactMissing, ArtifactDamaged, StoreError, OSError."""
        file = self._committed(digest)
        if file is None or self.store.has(digest):
            self.store.fetch(digest, target, link=False)
        else:
            target.write_bytes(file.read_bytes())

    def believes(self, trace: Trace) -> bool:
        """Whether a calibration's trace may be taken.

        One that took over what the lockfile said holds only as long as the lockfile says so.
        """
        locked, taken = self.of(trace.fingerprint), trace.summary.get("from") == FROM_LOCK
        if locked is None:
            return not taken
        own = trace.outputs.get(SCALES_FILE)
        if own is not None and same_digest(own, locked.scales):
            return True
        return not taken and not self.holds(locked.scales)

    def _committed(self, digest: Digest) -> Path | None:
        """A committed file with these very bytes."""
        for file in sorted(self.root.glob(COMMITTED)):
            if file.is_file() and same_digest(self.state.digest(file), digest):
                return file
        return None


def locked_scales(lock: Lock, store: LocalStore, state: ProjectState, root: Path) -> LockedScales:
    """The scales of a lockfile's calibrations."""
    results = {
        entry[RECIPE]: LockedResult(digest, entry)
        for address, entry in lock.steps.items()
        if address.endswith(":calibrate") and (digest := digest_in(entry.get(SCALES_FILE))) is not None
    }
    return LockedScales(results, store, state, root)
