"""How a calibrate action is performed: measured in a process of its own, or taken from the lockfile.

With the packages that the lockfile names, its scales are taken as they are: another kind of processor would come to
others, and to another engine. With other packages the calibration runs, and what it yields is compared: equal scales
prove that the packages change nothing, others give way to the lockfile's, with a warning. A build that is kept to its
lockfile takes nothing over in that case: it is to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trtpipe.digests import digest_file, same_digest
from trtpipe.errors import StepFailed
from trtpipe.json_values import JsonObject
from trtpipe.lockfile import digest_in
from trtpipe.lockfile.recipes import other_versions, versions_in
from trtpipe.plan.child_reports import SampleCount
from trtpipe.plan.control import Control
from trtpipe.plan.events import CalibrationProgress, Warned
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import ActionResult, Observer
from trtpipe.planning.facts import SCALES_FILE
from trtpipe.problem_codes import Code
from trtpipe.stages.task import Task
from trtpipe.system.locked_scales import FROM_LOCK
from trtpipe.system.processes import Telling, run_in_child
from trtpipe.system.site import Site


@dataclass(frozen=True, slots=True)
class Calibration:
    """Performs calibrate actions of a site."""

    site: Site
    observer: Observer
    anew: bool
    """Whether it was asked for by name: the lockfile then decides nothing."""
    frozen: bool
    """Whether the build is kept to its lockfile."""

    def run(self, action: Action, task: Task, scratch: Path, control: Control) -> ActionResult:
        """The scales, as a file in the scratch directory. Raises what a stage's process raises, StoreError."""
        alike = self.site.scales.made_alike(action.fingerprint.record())
        if alike and not self.anew and (taken := self._taken(action, scratch, {})) is not None:
            return taken
        result = self._measure(action, task, scratch, control)
        if self.anew or alike or self.frozen:
            return result
        return self._taken(action, scratch, result.files) or result

    def _taken(self, action: Action, scratch: Path, measured: Mapping[str, Path]) -> ActionResult | None:
        """The lockfile's scales, where it has some that can be had and that differ from what was `measured` here."""
        record, scales = action.fingerprint.record(), self.site.scales
        entry = scales.entry(record)
        digest = digest_in(entry[SCALES_FILE]) if entry is not None else None
        if entry is None or digest is None or not scales.holds(digest):
            return None
        if SCALES_FILE in measured and same_digest(digest_file(measured[SCALES_FILE]), digest):
            return None
        file = scratch / "locked" / SCALES_FILE
        file.parent.mkdir()
        scales.put(digest, file)
        if not same_digest(digest_file(file), digest):
            raise StepFailed(
                Code.MODEL_CHANGED, "committed scales changed while they were read", "run it again"
            )
        if measured:
            others = "; ".join(one.words() for one in other_versions(entry, versions_in(record)))
            text = (
                f"{action.address}: the lockfile's scales are taken; calibrating here gives others ({others})"
            )
            self.observer.emit(Warned(text))
        return ActionResult({SCALES_FILE: file}, {"from": FROM_LOCK})

    def _measure(self, action: Action, task: Task, scratch: Path, control: Control) -> ActionResult:
        """What was counted lies under the action's key until it is done; another action never sees it."""
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
