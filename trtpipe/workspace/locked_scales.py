"""The scales in the lockfile, used where this machine would measure others, so that all build the same engine.

A model's results differ in the last digits from one kind of processor to another, and a scale is a maximum or a
threshold of such values. So a calibration that is in the lockfile is not repeated on each machine: its scales are found
by their digest, in the store or in a committed file `calibration/*.scales.json`. As long as they are available, a
result that contradicts the lockfile is not used; `build --force` calibrates again.
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
    """The lockfile's result of one calibration."""

    scales: Digest
    entry: StepEntry


@dataclass(frozen=True, slots=True)
class LockedScales:
    """The lockfile's scales of one project, looked up by recipe."""

    by_recipe: Mapping[str, LockedResult]
    store: LocalStore
    state: ProjectState
    root: Path

    def of(self, record: Record) -> LockedResult | None:
        """The lockfile's result of a calibration; None when it has none for this recipe, or no scales."""
        return self.by_recipe.get(recipe_of(record)) if self.by_recipe else None

    def holds(self, digest: Digest) -> bool:
        """Whether the scales are available."""
        return self.store.has(digest) or self._committed(digest) is not None

    def put(self, digest: Digest, target: Path) -> None:
        """Copy the scales' verified bytes to `target`. Raises ArtifactMissing, ArtifactDamaged, StoreError, OSError."""
        file = self._committed(digest)
        if file is None or self.store.has(digest):
            self.store.fetch(digest, target, link=False)
        else:
            target.write_bytes(file.read_bytes())

    def believes(self, trace: Trace) -> bool:
        """Whether a calibration's trace may be used.

        One that copied the lockfile's scales is valid only while the lockfile still has them.
        """
        locked, taken = self.of(trace.fingerprint), trace.summary.get("from") == FROM_LOCK
        if locked is None:
            return not taken
        own = trace.outputs.get(SCALES_FILE)
        if own is not None and same_digest(own, locked.scales):
            return True
        return not taken and not self.holds(locked.scales)

    def _committed(self, digest: Digest) -> Path | None:
        """A committed file with exactly these bytes."""
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
