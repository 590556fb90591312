"""`trtpipe validate` on a fleet: engines run on agents' GPUs; what they measured is judged and written here.

The files of the engine's directory go to the agent, and the measurements come back with the samples that missed a
threshold, so that everything after is the same as for a GPU of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trtpipe.app.prove.engine_places import EngineFacts
from trtpipe.app.prove.validate import EngineRuns, HowToValidate, Subject, failing_folder, take_report
from trtpipe.building.engines.jobs import (
    EngineJobs,
    EngineWork,
    JobDone,
    RanOn,
    engine_files,
    need_of_manifest,
)
from trtpipe.building.engines.runs import run_on_fleet
from trtpipe.delivery.engine_proofs import judged_on_gpu
from trtpipe.delivery.failing_inputs import clear
from trtpipe.errors import ModelError
from trtpipe.fleet.answers import unusable
from trtpipe.fleet.placement import Need
from trtpipe.json_values import JsonObject, text_in, texts_in
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import DeliveredEngine
from trtpipe.runners.inference.requests import EngineRun
from trtpipe.runners.inference.results import Inference

JOB = "validate"


@dataclass(frozen=True, slots=True)
class OnFleet:
    """The GPUs of a fleet."""

    jobs: EngineJobs

    @property
    def has_gpu(self) -> bool:
        """The typed model is validated here wherever the fleet cannot run the engine."""
        return False

    def why_not(self, subjects: Sequence[Subject], how: HowToValidate) -> list[str]:
        """Why no agent runs an engine; it is said at once, before any engine is sent."""
        needs = [need_of(one.facts, how) for one in subjects]
        self.jobs.wait_for(needs)
        reasons = [self.jobs.why_not(need) for need in needs]
        for subject, reason in zip(subjects, reasons, strict=True):
            if reason:
                self.jobs.tell(f"not run: {subject.result.cell}: {reason}")
        return reasons

    def prove(self, subject: Subject, how: HowToValidate) -> None:
        """Run an engine on an agent and take its measurements in."""
        self.take_in(subject, self.measured(subject, how))

    def measured(self, subject: Subject, how: HowToValidate) -> JobDone:
        """What an agent measured. Raises what the job raises, and FleetError."""
        place, trust = subject.result.place, [subject.delivered.engine.digest.hex]
        files = engine_files(place.folder, how.plugins)
        work = EngineWork(JOB, subject.result.cell, need_of(subject.facts, how), files, {"trust": trust})
        return self.jobs.do(work)

    def take_in(self, subject: Subject, done: JobDone) -> RanOn:
        """Judge measurements, write the proof and keep the failing inputs; where they were made."""
        result = subject.result
        report = _report_in(done)
        take_report(subject, {**report, "machine": done.on.to_json()})
        result.notes += texts_in(done.result, "notes") if "notes" in done.result else []
        folder = failing_folder(result.place)
        clear(folder)
        for name, digest in done.files.items():
            path = folder / Path(name).name
            self.jobs.fetch(digest, path)
            result.kept.append(path)
        return done.on

    def runs_of(self, subject: Subject, how: HowToValidate) -> EngineRuns:
        """On any agent that can; its inputs are sent and its outputs come back."""
        need, on = need_of(subject.facts, how), list[RanOn]()

        def run(engine: DeliveredEngine, runs: Sequence[EngineRun], place: Path) -> Inference:
            found, where = run_on_fleet(self.jobs, engine, need, runs, place, how.plugins)
            on.append(where)
            return found

        return EngineRuns(run, lambda: on[-1].to_json() if on else {})

    def each(self, work: Callable[[Subject], None], subjects: Iterable[Subject]) -> None:
        """All at the same time: each waits for a GPU of its own."""
        asked = list(subjects)
        if not asked:
            return
        control = self.jobs.control
        with ThreadPoolExecutor(len(asked), "validate") as threads:
            futures = [threads.submit(work, one) for one in asked]
            try:
                for future in futures:
                    future.result()
            except BaseException:  # Ctrl-C, or a bug: nothing may go on behind its back
                control.killed.set()
                control.cancelled.set()
                raise


def need_of(facts: EngineFacts, how: HowToValidate) -> Need:
    """What running an engine needs of an agent. Raises ModelError for a damaged manifest."""
    try:
        return need_of_manifest(facts.manifest, plugins=bool(how.plugins))
    except ValueError as error:
        raise ModelError(
            Code.MANIFEST_DAMAGED,
            f"the manifest of {facts.manifest['cell']} is damaged: {error}",
            "build the cell again",
        ) from error


def _report_in(done: JobDone) -> JsonObject:
    """The measurements in an answer. Raises FleetError when they are of another form than this machine's own."""
    report = done.part("report")
    try:
        judged_on_gpu(report, {})
        text_in(report, "tensorrt")
    except (KeyError, TypeError, ValueError) as error:
        raise unusable(done.lane, f"its measurements are damaged: {error}") from error
    return report
