"""Writes a first spec for a model, and tests it before claiming that anything works.

The model is imported as a build would do it, so the build finds that step done; it is run at the shapes that the spec
proposes; and the spec is checked as `check` does it, with TensorRT's parser. Problems that the spec can avoid are
avoided (by leaving out the half variant, or shapes at which the model does not run); the others are reported.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trtpipe.app.author.proposal import Recognised, spec_without_reading, what_is_missing
from trtpipe.building.canonical_models import canonical_model
from trtpipe.canonical.names import repeated_dims
from trtpipe.checks.check import check_pipeline
from trtpipe.checks.report import CheckReport
from trtpipe.digests import digest_file, same_digest
from trtpipe.errors import Problem, TrtpipeError
from trtpipe.files import temporary_folder
from trtpipe.inspection.first_draft import Draft, find_out, refuse_training
from trtpipe.inspection.init_spec import HalfVariant, init_spec
from trtpipe.json_values import JsonObject, integer_in, object_in, text_in, texts_in
from trtpipe.loader.project import Project
from trtpipe.loader.specs import LoadedPipeline, load_pipeline
from trtpipe.plan.control import Control
from trtpipe.plan.graph import Action
from trtpipe.plan.planner import profiles_record, transform_options
from trtpipe.plan.planner.facts import MODEL_FILES
from trtpipe.plan.ports import ActionResult, Observer
from trtpipe.plan.task import HALF, Task
from trtpipe.problem_codes import Code
from trtpipe.processes.stage_runs import run_in_child
from trtpipe.proofs.proposals import Hints
from trtpipe.spec.pipeline import PipelineSpec, Profile
from trtpipe.workspace.known_names import known_names
from trtpipe.workspace.workspace import Workspace

_CHANGE = "Lines with a comment are those that you may want to change."
_HALF = ("variants", "fp16")
_MOST_TRIALS = 5
"""How many profiles are tried before the first of them is written with its problem."""


@dataclass(frozen=True, slots=True)
class FirstSpec:
    """The spec's text, and notes for the user."""

    text: str
    notes: tuple[str, ...] = ()
    """Warnings, each a sentence."""
    refused: tuple[Problem, ...] = ()
    """What prevents a build; empty when nothing was found."""


def tried_spec(
    model: Recognised, project: Project, *, name: str, observer: Observer, offline: bool = False
) -> FirstSpec:
    """A first spec, and the results of testing it. Raises ModelError or SpecError when the model cannot be imported."""
    missing = what_is_missing(model)
    if missing is not None:
        note = f"the model was not read: {missing.fact}; {missing.remedy}, then run init again"
        return FirstSpec(spec_without_reading(model, missing, name=name), (note,))
    with temporary_folder("init") as folder:
        return _Trial(model, project, name, observer, Path(folder), offline).run()


@dataclass(frozen=True, slots=True)
class _TriedHalf:
    """A half model that was made and run, from the canonical model by the function of the quantize step."""

    made: JsonObject
    canonical: Mapping[str, Path]
    folder: Path

    def result_of(self, action: Action) -> ActionResult | None:
        """The result of an action that would make the same model again."""
        if action.stage != "quantize" or self.made.get("options") != dict(action.fingerprint.options):
            return None
        files = {path.name: path for path in sorted(self.folder.iterdir())}
        wanted = action.fingerprint.inputs
        known = wanted.keys() == {"model"} and wanted["model"].keys() == self.canonical.keys()
        if (
            not files
            or not known
            or any(
                not same_digest(digest_file(path), wanted["model"][name])
                for name, path in self.canonical.items()
            )
        ):
            return None
        return ActionResult(files, object_in(self.made, "summary"))


@dataclass(frozen=True)
class _Trial:
    """The test of one model."""

    model: Recognised
    project: Project
    name: str
    observer: Observer
    folder: Path
    offline: bool
    halves: list[_TriedHalf] = field(default_factory=list)

    def run(self) -> FirstSpec:
        hints = self._hints()
        canonical = self._imported()
        draft, fit = self._drafted(canonical, hints)
        draft = replace(
            draft, cosine=_cosine(fit), largest=integer_in(fit, "largest") if "largest" in fit else 0
        )
        half = HalfVariant(tuple(texts_in(fit, "keep")), text_in(fit, "refused")) if fit else HalfVariant()
        report = self._checked(self._text(draft, half))
        errors = _errors(report)
        if errors and all(one.path[:2] == _HALF for one in errors):  # the spec builds without this part
            half = HalfVariant(refused=errors[0].fact, tried="TensorRT's parser")
            report = self._checked(self._text(draft, half))
            errors = _errors(report)
        errors = [
            *errors,
            *(one for one in draft.proposal.problems if not errors),
            *_tried(fit),
        ]
        claim = _claim(fit, report, errors)
        return FirstSpec(self._text(draft, half, claim), tuple(_notes(draft, fit, report)), tuple(errors))

    def _hints(self) -> Hints:
        """The hints about sizes; raises for a model in training mode. Importing removes the information for both.

        Only models that can be read without a conversion are examined.
        """
        if self.model.frontend.name != "onnx":
            return self.model.head.hints
        workplace = self.folder / "read"
        workplace.mkdir()
        proto = self.model.read(workplace)
        refuse_training(proto)
        return replace(self.model.head.hints, same=repeated_dims(proto))

    def _imported(self) -> Path:
        """The canonical model."""
        # importing does not depend on the TensorRT version
        text = init_spec(self.model.head, None, name=self.name)
        folder = self.folder / "imported"
        folder.mkdir()
        pipeline = self._loaded(text)
        workspace = Workspace(self.project, (pipeline,))
        return canonical_model(
            pipeline,
            workspace.store,
            workspace.state,
            folder,
            observer=self.observer,
            offline=self.offline,
        )

    def _drafted(self, canonical: Path, hints: Hints) -> tuple[Draft, JsonObject]:
        """The proposed spec, with shapes at which the model ran if there are any."""
        from trtpipe.canonical.reader import read_skeleton

        failed: list[Profile] = []
        first: tuple[Draft, JsonObject] | None = None
        narrow = False
        for _ in range(_MOST_TRIALS):
            proto = read_skeleton(canonical).proto
            draft = find_out(proto, hints=replace(hints, failed=tuple(failed)), narrow=narrow)
            fit = self._fit(canonical, draft)
            first = first or (draft, fit)
            stopped = object_in(fit, "failed") if "failed" in fit else {}
            if not stopped:
                return draft, fit
            if draft.proposal.problems or not draft.proposal.profile:
                break  # there are no other shapes to propose
            narrow = "opt" not in stopped
            failed += [] if narrow else [draft.proposal.profile]
        assert first is not None
        return first

    def _fit(self, canonical: Path, draft: Draft) -> JsonObject:
        """The child process's observations when running the model; `untried` has the reason when it did not run."""
        import yaml

        spec = PipelineSpec.model_validate(yaml.safe_load(self._text(draft, HalfVariant())))
        assert spec.validate_ is not None and spec.validate_.random is not None, (
            "it validates on random inputs"
        )
        options: dict[str, Any] = {
            "data": {"random": spec.validate_.random.model_dump()},
            "profiles": profiles_record(spec.profiles),
            "transform": transform_options(spec.transform).record(),
            "half": draft.has_float32,
        }
        files = {name: path for name in MODEL_FILES if (path := canonical.parent / name).exists()}
        place = Path(tempfile.mkdtemp(prefix="fit-", dir=self.folder))
        (place / "out").mkdir()
        task = Task("fit", options, {"typed": files, "reference": files}, place / "out")
        try:
            fit = run_in_child(task, place, Control()).summary
        except TrtpipeError as error:
            why = error.problems[0].fact
            return {"broken": why, "untried": why, "keep": [], "refused": "", "ran": [], "nan": ""}
        self.halves.append(_TriedHalf(object_in(fit, "quantized"), files, place / "out" / HALF))
        return fit

    def _text(self, draft: Draft, half: HalfVariant, claim: Sequence[str] = ()) -> str:
        return init_spec(self.model.head, draft, name=self.name, half=half, claim=claim)

    def _loaded(self, text: str) -> LoadedPipeline:
        path = self.folder / f"{self.name}.yaml"
        path.write_text(text, encoding="utf-8")
        return load_pipeline(path, self.project, known_names())

    def _checked(self, text: str) -> CheckReport:
        def given(action: Action) -> ActionResult | None:
            return next((found for one in self.halves if (found := one.result_of(action))), None)

        pipeline = self._loaded(text)
        return check_pipeline(pipeline, observer=self.observer, offline=self.offline, given=given)


def _errors(report: CheckReport) -> list[Problem]:
    return [replace(one, where=None) for one in report.problems if one.severity == "error"]


def _tried(fit: JsonObject) -> Iterator[Problem]:
    """A warning that the model failed at the proposed shapes, or that comparing it proves nothing."""
    if fit.get("broken"):
        yield Problem(Code.MODEL_RUN_FAILED, f"the model was not run: {fit['broken']}")
    failed = object_in(fit, "failed") if "failed" in fit else {}
    for corner in list(failed)[:1]:
        remedy = "write a profile with shapes at which the model runs"
        yield Problem(
            Code.PROFILE_IMPOSSIBLE, f"the model does not run at {corner}: {failed[corner]}", remedy
        )
    if fit.get("nan"):
        fact = f"on random inputs the model yields NaN, which begins at {fit['nan']}: no output would pass"
        yield Problem(Code.THRESHOLD_MISSED, fact, "validate on a data set, `validate: {data: NAME}`")
    if fit.get("unsteady"):
        fact = (
            "the model rounds to whole numbers as it runs, and on random inputs makes so much of the least difference "
            f"that two ways of computing it agree to a cosine of {fit['unsteady']} only"
        )
        remedy = "validate on a data set, `validate: {data: NAME}`, or write a threshold that you can accept"
        yield Problem(Code.NOTHING_TO_EXPECT, fact, remedy)


def _cosine(fit: JsonObject) -> float | None:
    found = fit.get("cosine")
    return float(found) if isinstance(found, float) else None


def _claim(fit: JsonObject, report: CheckReport, errors: Sequence[Problem]) -> list[str]:
    """What was tested, in sentences; nothing is claimed that was not tested."""
    if errors:
        more = f" And {len(errors) - 1} more: see trtpipe check." if len(errors) > 1 else ""
        first = f"Does not build yet: {errors[0].fact}.{more}"
        remedy = errors[0].remedy.splitlines()
        return [first, *(f"To decide: {line}" for line in remedy[:1])]
    parsed = sum(bool(cell["parsed"]) for cell in report.cells)
    said = ["checked"]
    if report.cells and parsed == len(report.cells):
        said.append("parsed by TensorRT")
    ran = _listed(texts_in(fit, "ran")) if fit.get("ran") else ""
    if ran:
        said.append(f"the model run on the CPU at {ran}")
    words = _listed(said)
    return [f"{words[:1].upper()}{words[1:]}: no problem was found. No engine was built yet.", _CHANGE]


def _notes(draft: Draft, fit: JsonObject, report: CheckReport) -> list[str]:
    """Notes for the user about things that do not prevent a build."""
    notes = []
    if draft.outputs:
        cut = _listed([f"'{name}'" for name in draft.outputs])
        notes.append(f"the spec cuts the model at {cut}: {draft.cut_because}")
    if fit.get("untried") and not fit.get("broken"):
        notes.append(f"the model was not run: {fit['untried']}")
    notes += [one.fact for one in report.problems if one.severity == "warning"]
    return notes


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
