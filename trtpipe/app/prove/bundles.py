"""`trtpipe validate BUNDLE`: a bundle's engines run as a whole on GPUs, compared with the recording of its build.

The proof of each target goes to the bundle's directory, and from there into `bundle.json` and the lockfile, as an
engine's proof does. What cannot run says why, and is never counted as passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.app.prove.engine_places import EnginePlace
from trtpipe.app.prove.validate import (
    EngineRuns,
    HowToValidate,
    Outcome,
    Prover,
    Subject,
    ThisMachine,
    Validated,
    subject_of,
)
from trtpipe.building.bundles.completion import complete_bundles
from trtpipe.building.bundles.work import BundleWork, delivered_cells, engine_keys, work_on
from trtpipe.building.lock_writer import refresh_lock
from trtpipe.building.outcome import Outcome as BuildOutcome
from trtpipe.building.performer import Terms
from trtpipe.building.planned import Planned, make_plan
from trtpipe.building.silent import Unheard
from trtpipe.delivery.bundle_proofs import judged_whole, write_bundle_proof
from trtpipe.delivery.bundles import RECORD
from trtpipe.errors import Interrupted, ModelError, TrtpipeError
from trtpipe.files import read_regular, temporary_folder
from trtpipe.json_values import Json, JsonObject, object_in, read_object
from trtpipe.loader.bundles import LoadedBundle
from trtpipe.plan.control import Control
from trtpipe.plan.options import BundleOptions
from trtpipe.plan.task import GOLDEN, Task
from trtpipe.problem_codes import Code
from trtpipe.processes.stage_runs import run_in_child
from trtpipe.runners.inference.requests import HowToRun
from trtpipe.stores.state import signature_of
from trtpipe.workspace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from trtpipe.delivery.engine_proofs import EngineVerdict

_LARGEST = 64 << 20


@dataclass(slots=True)
class WholeValidated:
    """The result for one target of a bundle."""

    bundle: str
    target: str
    engines: Outcome = "not_run"
    why: str = ""
    """Why the engines were not run as a whole."""
    verdict: EngineVerdict | None = None
    proof: Path | None = None
    error: TrtpipeError | None = None
    """Why they could not be run, where that is an error."""


def validate_bundles(
    names: Sequence[str], root: Path, how: HowToValidate, prover: Prover
) -> list[WholeValidated]:
    """Validate a project's bundles, and take their proofs in. Raises SpecError."""
    planned = make_plan(open_workspace(names, cwd=root))
    whole = planned.workspace.whole_bundles
    found = [one for bundle in whole for one in _bundle(planned, bundle, how, prover)]
    proved = list(dict.fromkeys(one.bundle for one in found if one.proof is not None))
    if proved:
        _take_in(planned, proved)
    return found


def _bundle(
    planned: Planned, bundle: LoadedBundle, how: HowToValidate, prover: Prover
) -> list[WholeValidated]:
    found = [WholeValidated(bundle.name, target) for target in bundle.targets]
    try:
        whole = _Whole.of(planned, bundle, how, prover)
    except TrtpipeError as error:
        for one in found:
            _note(one, error)
        return found
    for one in found:
        whole.validate(one)
    return found


def _note(result: WholeValidated, error: TrtpipeError) -> None:
    result.error, result.why = error, error.problems[0].fact


@dataclass(frozen=True, slots=True)
class _Whole:
    """A bundle that was built, and what its engines run on."""

    workspace: Workspace
    work: BundleWork
    record: JsonObject
    """Its `bundle.json`."""
    golden: Path
    how: HowToValidate
    prover: Prover

    @classmethod
    def of(cls, planned: Planned, bundle: LoadedBundle, how: HowToValidate, prover: Prover) -> _Whole:
        """Raises ModelError when the bundle is not built as its spec says now, SpecError."""
        workspace = planned.workspace
        work, folder = work_on(planned, bundle, delivered_cells(planned)), workspace.build / bundle.name
        record = _delivered(folder, workspace) if work is not None else None
        if work is None or record is None or record.get("key") != work.key(engine_keys(planned)):
            raise ModelError(
                Code.NO_ENGINE,
                f"bundle {bundle.name!r} is not complete: a member failed, or its files changed since its build",
                f"run `trtpipe build {bundle.name}`",
            )
        golden = bundle.files.get(("validate", "golden"), folder / GOLDEN)
        return cls(workspace, work, record, golden, how, prover)

    def validate(self, result: WholeValidated) -> None:
        """Run the engines for a target, and write the proof; the result has the error of what went wrong."""
        try:
            self._validate(result)
        except Interrupted:
            raise
        except TrtpipeError as error:
            _note(result, error)

    def _validate(self, result: WholeValidated) -> None:
        subjects = self._subjects(result)
        result.why = result.why or self._why_not(result.target, subjects)
        if result.why:
            return
        runs = {name: self.prover.runs_of(one, self.how) for name, one in subjects.items()}
        report = self._measured(result.target, subjects, runs)
        validation = object_in(object_in(self.record, "validation"), result.target)
        samples = validation.get("samples")
        assert samples is None or isinstance(samples, int), "this trtpipe wrote it"
        result.verdict = judged_whole(report, validation, samples)
        outcome = result.verdict.record["outcome"]
        result.engines = outcome
        if report["gpu"] is None:
            result.why = "" if outcome == "failed" else "nothing could be compared"
            return
        digests = {name: one.delivered.engine.digest.hex for name, one in subjects.items()}
        folder = self.workspace.build / self.work.bundle.name
        result.proof = write_bundle_proof(folder, result.target, report, digests)

    def _subjects(self, result: WholeValidated) -> dict[str, Subject]:
        """The members' engines; the result says why when one cannot be read."""
        found = {}
        for name, cell in self.work.choice[result.target].items():
            validated = Validated(EnginePlace(cell, self.workspace.build / cell, self.workspace))
            subject = subject_of(validated, self.how)
            if subject is not None:
                found[name] = subject
            elif validated.error is not None:
                raise validated.error
        return found

    def _why_not(self, target: str, subjects: Mapping[str, Subject]) -> str:
        """Why the engines of a target cannot run as a whole."""
        if target not in self.work.steps:
            return "the spec has no `validate`, so there is nothing to run them on"
        if not self.golden.is_file():
            return f"there is no {self.golden.name} with recorded samples"
        if self.work.bundle.spec.python is not None and not isinstance(self.prover, ThisMachine):
            return "a driver runs the engines of one machine, and not those of a fleet"
        reasons = self.prover.why_not(list(subjects.values()), self.how)
        return next(filter(None, reasons), "")

    def _measured(
        self, target: str, subjects: Mapping[str, Subject], runs: Mapping[str, EngineRuns]
    ) -> dict[str, Json]:
        from trtpipe.runners.bundles.engines import engine_runner, measure_in_order

        options = self.work.steps[target].options
        assert isinstance(options, BundleOptions)
        with temporary_folder("validate") as folder:
            if options.driver is not None:
                report = self._driven(options, subjects, runs, Path(folder))
            else:
                engines = {
                    name: engine_runner(
                        one.result.place.folder, one.delivered, runs[name].run, Path(folder) / name
                    )
                    for name, one in subjects.items()
                }
                report = measure_in_order(options, self.golden, engines)
        return {**report, "machine": dict(next(iter(runs.values())).machine())}

    def _driven(
        self,
        options: BundleOptions,
        subjects: Mapping[str, Subject],
        runs: Mapping[str, EngineRuns],
        folder: Path,
    ) -> dict[str, Json]:
        """The measurements of a bundle with a driver, which runs in a process of its own."""
        from trtpipe.runners.bundles.engines import task_engine

        engines: list[Json] = []
        for name, one in subjects.items():
            toolchain = runs[name].toolchain
            assert toolchain is not None, "a driver is not run on a fleet"
            asked = HowToRun(device=self.how.device, plugins=self.how.plugins)
            engines.append(task_engine(name, one.result.place.folder, toolchain, asked))
        code = {source.name: source.path for source in self.work.facts.code}
        inputs = {"golden": {GOLDEN: self.golden}, "code": code}
        out = folder / "out"
        out.mkdir()
        task = Task("validate", options.record(), inputs, out, {"engines": engines})
        return dict(run_in_child(task, folder, Control()).summary)


def _delivered(folder: Path, workspace: Workspace) -> JsonObject | None:
    """The `bundle.json` in a bundle's directory; None unless it and the recording are as its build left them.

    Proofs do not count: engines that failed as a whole may be run again.
    """
    if workspace.state.lock_text(folder.name) is None:
        return None
    _, files = workspace.state.delivered_files(folder.name)
    if any(signature_of(str(folder / name)) != files.get(name) for name in (RECORD, GOLDEN)):
        return None
    return read_object(read_regular(folder / RECORD, _LARGEST))


def _take_in(planned: Planned, bundles: Sequence[str]) -> None:
    """Judge the bundles again with their proofs, and write their entries. A bundle that fails keeps its old one."""
    outcome = BuildOutcome()
    outcome.fresh += delivered_cells(planned)
    complete = complete_bundles(planned, outcome, Unheard(), Terms())
    refresh_lock(planned, (), [name for name in complete if name in bundles])
    planned.workspace.state.save()
