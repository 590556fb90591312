"""Performs a calibrate action: measures in a process of its own, or takes the scales from the lockfile.

If the installed packages are those named in the lockfile, its scales are used unchanged, because another kind of
processor would get different scales and so a different engine. With other packages the calibration runs and the result
is compared: equal scales prove that the packages make no difference; otherwise the lockfile's scales are used, with a
warning. A `--frozen` build does not use the lockfile's scales in that case, because it is meant to detect the
difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from trtpipe.digests import Digest, digest_file, same_digest
from trtpipe.errors import StepFailed
from trtpipe.json_values import JsonObject
from trtpipe.lockfile.entries import FROM_LOCK
from trtpipe.lockfile.recipes import OtherVersion, other_versions, versions_in
from trtpipe.plan.child_reports import SampleCount
from trtpipe.plan.control import Control
from trtpipe.plan.events import CalibrationProgress, Warned
from trtpipe.plan.graph import Action
from trtpipe.plan.planner.facts import SCALES_FILE
from trtpipe.plan.ports import ActionResult, Observer
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.processes.stage_runs import Telling, run_in_child
from trtpipe.workspace.site import Site


class _Locked(NamedTuple):
    """Scales of the lockfile, and the packages whose versions there differ from those installed here."""

    scales: Digest
    others: tuple[OtherVersion, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Performs calibrate actions of a site."""

    site: Site
    observer: Observer
    anew: bool
    """Whether it was explicitly requested: then the lockfile is not used."""
    frozen: bool
    """Whether the build is `--frozen`."""

    def run(self, action: Action, task: Task, scratch: Path, control: Control) -> ActionResult:
        """The scales, as a file in the scratch directory. Raises what a stage's process raises, StoreError."""
        locked = self._locked(action)
        if locked is not None and not locked.others:
            return self._taken(locked, scratch)
        result = self._measure(action, task, scratch, control)
        if locked is None or self.frozen:
            return result
        if same_digest(digest_file(result.files[SCALES_FILE]), locked.scales):
            return result
        others = "; ".join(one.words() for one in locked.others)
        text = f"{action.address}: the lockfile's scales are used; calibrating here yields different ones ({others})"
        self.observer.emit(Warned(text))
        return self._taken(locked, scratch)

    def _locked(self, action: Action) -> _Locked | None:
        """The lockfile's scales, if the lockfile decides and its scales are available."""
        record = action.fingerprint.record()
        found = None if self.anew else self.site.scales.of(record)
        if found is None or not self.site.scales.holds(found.scales):
            return None
        return _Locked(found.scales, other_versions(found.entry, versions_in(record)))

    def _taken(self, locked: _Locked, scratch: Path) -> ActionResult:
        file = scratch / "locked" / SCALES_FILE
        file.parent.mkdir()
        self.site.scales.put(locked.scales, file)
        if not same_digest(digest_file(file), locked.scales):
            raise StepFailed(
                Code.MODEL_CHANGED, "committed scales changed while they were read", "run it again"
            )
        return ActionResult({SCALES_FILE: file}, {"from": FROM_LOCK})

    def _measure(self, action: Action, task: Task, scratch: Path, control: Control) -> ActionResult:
        """Measures in a child process. Partial counts are kept under the action's key, so no other action uses them."""
        events = scratch.absolute() / "events"
        counted = self.site.store.partial(action.key).absolute() / "counted"
        local = {**task.local, "events": str(events), "progress": str(counted)}

        def hear(report: JsonObject) -> None:
            self.observer.emit(CalibrationProgress(action.address, SampleCount.from_json(report)))

        result = run_in_child(replace(task, local=local), scratch, control, Telling(events, hear))
        self.site.store.forget_partial(action.key)
        for warning in result.summary.get("warnings", ()):
            self.observer.emit(Warned(f"{action.address}: {warning}"))
        return result
