"""`check`: everything that can be proved about specs without building, all problems of all specs in one pass.

Reads weights only to look for NaN in them, a piece at a time, and imports neither ONNX Runtime nor TensorRT. If no
problem was found so far, TensorRT's parser is asked as well, in a process of its own (`checks.networks`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from trtpipe.building.canonical_models import origins_of, readable_model
from trtpipe.building.facts import FactFinder, refuse_backend
from trtpipe.building.performer import PLAIN_TERMS, Given
from trtpipe.building.planned import Planned, runs
from trtpipe.building.remote_files import unpinned
from trtpipe.checks.already_told import AlreadyTold
from trtpipe.checks.bundles import prove_bundles
from trtpipe.checks.report import CheckReport
from trtpipe.errors import Problem, SpecError, SpecPath, TrtpipeError
from trtpipe.files import temporary_folder
from trtpipe.loader.project import find_pipelines
from trtpipe.loader.specs import LoadedPipeline, load_dataset
from trtpipe.plan.planner.facts import TargetFacts
from trtpipe.plan.ports import Observer
from trtpipe.workspace.stores import use_remote
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import Workspace, scope_of, workspace_of
from trtpipe.workspace.written_places import refuse_foreign_places

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.inference import Inferred
    from trtpipe.checks.networks import Parses
    from trtpipe.proofs.model import ModelView
    from trtpipe.proofs.targets import CellProof, TargetView
    from trtpipe.proofs.typed_nodes import TypedModel


T = TypeVar("T")


def check_specs(
    arguments: Sequence[str],
    only: Sequence[str],
    cwd: Path | None = None,
    *,
    offline: bool = False,
    observer: Observer | None = None,
    parse: bool = True,
) -> CheckReport:
    """Prove every spec that the arguments select; `observer` receives events about the required downloads.

    With `parse`, TensorRT parses the typed models. Raises SpecError only when there is no spec to read.
    """
    cwd = cwd or Path.cwd()
    cells = [text for text in arguments if "@" in text and not (cwd / text).exists()]
    specs = [text for text in arguments if text not in cells]
    resolver, is_whole = TargetResolver(), parse and not (only or cells) and cwd == Path.cwd()
    told = AlreadyTold.of(specs, resolver) if is_whole else AlreadyTold()
    loaded = told.load_others(find_pipelines(specs, cwd))
    report = CheckReport(list(loaded.problems))
    roots = dict.fromkeys(one.project.root for one in loaded.pipelines)
    projects = {root: [one for one in loaded.pipelines if one.project.root == root] for root in roots}
    opened, scope, bundles = time.time_ns(), scope_of(loaded), tuple(loaded.bundles)
    for root, pipelines in projects.items():
        project = Workspace(pipelines[0].project, tuple(pipelines), (*cells, *only), opened, bundles, scope)
        refuse_foreign_places(root)
        use_remote(project.store, offline=offline, required=False)
        with project.state.saving_once():
            for pipeline in pipelines:
                workspace = project.of(pipeline)
                with told.telling(report, pipeline):
                    _Checker(pipeline, resolver, report, workspace, offline, observer, parse, make=True).run()
    told.end(report)
    if loaded.bundles and not report.errors:
        prove_bundles(workspace_of(loaded, (*cells, *only), opened), report, offline, observer)
    return report


def check_pipeline(
    pipeline: LoadedPipeline,
    *,
    observer: Observer | None = None,
    offline: bool = False,
    given: Given = PLAIN_TERMS.given,
) -> CheckReport:
    """Prove one spec that is loaded already, and have TensorRT parse its models."""
    report = CheckReport()
    workspace = Workspace(pipeline.project, (pipeline,))
    use_remote(workspace.store, offline=offline, required=False)
    resolver = TargetResolver()
    _Checker(pipeline, resolver, report, workspace, offline, observer, parse=True, given=given).run()
    return report


def prove_before_building(
    planned: Planned, *, offline: bool = False, observer: Observer | None = None
) -> list[Problem]:
    """Prove the pipelines that have a step to run; returns their warnings. Raises SpecError with every error."""
    stale, report = {address.pipeline for address in runs(planned)}, CheckReport()
    for pipeline in planned.workspace.pipelines:
        if pipeline.spec.pipeline in stale and pipeline.joint is None:
            _Checker(pipeline, planned.targets, report, planned.workspace, offline, observer).run()
    if planned.workspace.bundles and not report.errors:
        prove_bundles(planned.workspace, report, offline, observer)
    if report.errors:
        raise SpecError(report.errors)
    return [problem for problem in report.problems if problem.severity == "warning"]


@dataclass(slots=True)
class _Checker:
    """Checks one pipeline; after a failed part, every part that does not depend on it is still checked."""

    pipeline: LoadedPipeline
    resolver: TargetResolver
    report: CheckReport
    workspace: Workspace
    offline: bool = False
    observer: Observer | None = None
    parse: bool = False
    make: bool = False
    """Whether typed models are made and checked against known restrictions of TensorRT."""
    given: Given = PLAIN_TERMS.given
    proofs: list[CellProof] = field(default_factory=list)
    seen: list[onnx.ModelProto] = field(default_factory=list)
    """The model as it was checked, without its weights."""
    proved: set[tuple[str, int | None]] = field(default_factory=set)
    """The data sets already checked against the model, with their numbers of samples."""
    parses: Parses | None = None
    """The steps that make and parse the typed models, once they were asked for."""

    def run(self) -> None:
        before = len(self.report.problems)
        targets = list(self._targets())
        self._try(("model", "source"), lambda: self._prove(targets))
        if self._fine(before) and self.make and self.proofs and self.seen:
            self._try(("model", "source"), self._make)
        not_parsed = self._parse() if self._fine(before) and self.parse and self.proofs else {}
        for proof in self.proofs:
            self._note(proof, not_parsed)
        self.workspace.state.save()

    def _fine(self, before: int) -> bool:
        """Whether no problem was found after the first `before` ones, which belong to other pipelines."""
        return not any(one.severity == "error" for one in self.report.problems[before:])

    def _make(self) -> None:
        """Make the typed models and check them against the rules."""
        from trtpipe.checks.types import refused_cells

        made = refused_cells(self._planned(), self.observer, self.seen[0], offline=self.offline)
        self.report.problems += [one for one in made.problems if one not in self.report.problems]
        self.proofs = [made.judged(proof) for proof in self.proofs]

    def _parse(self) -> Mapping[str, str]:
        """Have TensorRT parse the typed models; returns the reason for cells whose model was not parsed."""
        from trtpipe.building.build import default_jobs
        from trtpipe.checks.networks import parse_cells

        def work() -> Mapping[str, str]:
            jobs = default_jobs()
            found = parse_cells(
                self._planned(), self.observer, offline=self.offline, jobs=jobs, given=self.given
            )
            self.report.problems += [one for one in found.problems if one not in self.report.problems]
            return found.not_parsed

        return self._try(("model", "source"), work) or {}

    def _planned(self) -> Parses:
        """The steps that make and parse the typed models. Raises SpecError."""
        from trtpipe.checks.networks import parses_of

        self.parses = self.parses or parses_of(self.workspace, self.resolver)
        return self.parses

    def _prove(self, targets: Sequence[TargetView]) -> None:
        store, state = self.workspace.store, self.workspace.state
        finder = FactFinder(state, self.resolver)
        self._try(("model", "sha256"), lambda: finder.verify_pins(self.pipeline))
        with readable_model(
            self.pipeline, store, state, observer=self.observer, offline=self.offline
        ) as proto:
            if self.pipeline.remotes:
                self._add(unpinned(self.pipeline, origins_of(self.pipeline, store)))
            if self.pipeline.graft is None:
                self._prove_model(proto, targets)
            else:
                self._try(("transform", "graft"), lambda: self._prove_grafted(proto, targets))
        self._try(("variants",), self._caches)

    def _prove_model(self, proto: onnx.ModelProto, targets: Sequence[TargetView]) -> None:
        view = self._try(("model", "source"), lambda: self._model(proto))
        if view is not None:
            self.seen.append(view.proto)
            self._try(("model", "source"), lambda: self._add(self._weights(view)))
            self._try(("validate",), lambda: self._validation(view))
            self._try(("variants",), lambda: self._budgets(view))
            self._try(("variants",), lambda: self._calibrations(view))
            self._try(("targets",), lambda: self._cells(proto, view, targets))

    def _prove_grafted(self, proto: onnx.ModelProto, targets: Sequence[TargetView]) -> None:
        """Checks the transform by itself first, then everything for the model with the graft inserted."""
        from trtpipe.canonical.summary import summarize
        from trtpipe.proofs.model import tensors_of_model
        from trtpipe.proofs.transforms import prove_transform
        from trtpipe.stages.transforms import grafted

        problems = prove_transform(
            summarize(proto).inputs, tensors_of_model(proto), self.pipeline.spec.transform
        )
        self._add(problems)
        if problems:
            return
        with temporary_folder("graft") as folder:
            pipeline, model = grafted(self.pipeline, proto, Path(folder))
            replace(self, pipeline=pipeline)._prove_model(model, targets)

    def _try(self, path: SpecPath, work: Callable[[], T]) -> T | None:
        """The result of the work; a TrtpipeError becomes problems at the path."""
        try:
            return work()
        except TrtpipeError as error:
            self._add(error.problems, path)
        return None

    def _add(self, problems: Iterable[Problem], path: SpecPath = ()) -> None:
        for problem in problems:
            at = problem.path or path
            located = self.pipeline.locate(replace(problem, path=at))
            # each precision that a search tries is planned separately
            if located not in self.report.problems:
                self.report.problems.append(located)

    def _targets(self) -> Iterator[TargetView]:
        from trtpipe.proofs.targets import view_of_target

        for name in self.pipeline.spec.targets:
            found = self.resolver.resolve(self.pipeline.spec, name)
            if isinstance(found, TargetFacts):
                yield view_of_target(name, found)
            else:
                self._add(found)

    def _model(self, proto: onnx.ModelProto) -> ModelView:
        from trtpipe.proofs.model import prove_model, view_model

        spec = self.pipeline.spec
        view = view_model(proto, spec.transform)
        self._add(prove_model(proto, spec.profiles, spec.transform, view=view))
        return view

    def _weights(self, view: ModelView) -> list[Problem]:
        from trtpipe.proofs.nonfinite_weights import prove_weights

        return prove_weights(view.proto)

    def _validation(self, view: ModelView) -> None:
        asked = self.pipeline.spec.validate_
        if asked is None:
            return
        from trtpipe.metrics.thresholds import unmatched
        from trtpipe.networks.verdicts import unknown_accepted

        outputs = [info.name for info in view.outputs]
        self._add(unmatched(asked.thresholds, outputs, ("validate", "thresholds")))
        self._add(unmatched(asked.readback.thresholds, outputs, ("validate", "readback", "thresholds")))
        self._add(unknown_accepted(asked.readback))
        if asked.data is not None:
            self._samples(view, asked.data, asked.samples, ("validate", "data"))

    def _samples(self, view: ModelView, name: str, samples: int | None, path: SpecPath) -> None:
        from trtpipe.datasets import runs_code, source_files
        from trtpipe.datasets.locations.projects import ProjectFiles
        from trtpipe.datasets.samples.batches import open_dataset
        from trtpipe.proofs.samples import prove_samples

        if (name, samples) in self.proved:
            return
        self.proved.add((name, samples))
        project, spec = self.pipeline.project, self.pipeline.spec
        loaded = load_dataset(project.dataset(name), project)
        files = ProjectFiles(project)
        try:
            if runs_code(loaded.spec):
                source_files(loaded.spec, files)
                return  # its output is reported by the step that runs it
            with open_dataset(loaded.spec, files, view.inputs, samples=samples) as data:
                shapes = data.shapes_by_sample()
                named = data.has_names
        except SpecError as error:
            self._add(loaded.locate(problem) for problem in error.problems)
            return
        batches, samples_named = [batch for batch, _ in shapes], [sample for _, sample in shapes]
        names = samples_named if named else ()
        self._add(prove_samples(batches, view.inputs, spec.profiles, data=name, path=path, samples=names))

    def _budgets(self, view: ModelView) -> None:
        from trtpipe.metrics.limits import limit_problems

        outputs, spec = [info.name for info in view.outputs], self.pipeline.spec
        budgets = {name: one.budget for name, one in spec.variants.items() if one.budget is not None}
        thresholds = spec.validate_.thresholds if spec.validate_ else ()
        self._add(limit_problems(thresholds, budgets, outputs, labelled=self._labelled()))

    def _labelled(self) -> bool:
        """Whether the validation data has class labels."""
        asked = self.pipeline.spec.validate_
        if asked is None or asked.data is None or asked.golden is not None:
            return False
        project = self.pipeline.project
        return load_dataset(project.dataset(asked.data), project).spec.labels is not None

    def _calibrations(self, view: ModelView) -> None:
        sets: dict[tuple[str, int | None], SpecPath] = {}
        for name, variant in self.pipeline.spec.variants.items():
            asked = variant.calibration
            if asked is not None and asked.data is not None:
                place = ("variants", name, "calibration")
                sets.setdefault((asked.data, asked.samples), place)
                self._try(place, partial(refuse_backend, asked))
        for (data, samples), path in sets.items():
            self._samples(view, data, samples, path)

    def _caches(self) -> None:
        """Checks calibration caches against the tensor names after import and transform."""
        if not any(one.calibration and one.calibration.cache for one in self.pipeline.spec.variants.values()):
            return
        from trtpipe.checks.calibration_caches import CacheProver

        told = any(problem.severity == "error" for problem in self.report.problems)
        for problems, line in CacheProver(self.pipeline, self.workspace, self.offline).prove_all(told=told):
            self._add(problems)
            self.report.lines += [line] if line else []

    def _cells(self, proto: onnx.ModelProto, view: ModelView, targets: Sequence[TargetView]) -> None:
        from trtpipe.proofs.targets import prove_cells

        spec = self.pipeline.spec
        cells = [
            (v, t)
            for v in spec.variants
            for t in targets
            if self.workspace.wants(f"{spec.pipeline}/{v}@{t.name}")
        ]
        typed = self._typed(proto, view, (v for v, _ in cells))
        wanted = list(dict.fromkeys(t for _, t in cells))
        present = [gpu.compute_capability for gpu in self.resolver.here()]
        proofs, problems = prove_cells(
            spec, wanted, typed, view, present=present, wanted=self.workspace.wants
        )
        self._add(problems)
        self.proofs += proofs

    def _typed(
        self, proto: onnx.ModelProto, view: ModelView, variants: Iterable[str]
    ) -> dict[str, TypedModel]:
        """Each variant's node types, from the precision's plan; for a search, those of all its precisions."""
        from trtpipe.checks.variant_types import VariantTyping
        from trtpipe.proofs.typed_nodes import SourceTypes

        typing = VariantTyping(proto, SourceTypes(proto, self._inferred(view)))
        typed = {}
        for name in dict.fromkeys(variants):
            found = typing.types_of(name, self.pipeline.spec.variants[name])
            self._add(found.problems)
            typed[name] = found.model
        return typed

    def _inferred(self, view: ModelView) -> Inferred:
        """Every value's type and shape at the first profile's opt."""
        from trtpipe.proofs.corners import shapes_at, values_at

        profile = self.pipeline.spec.profiles[0] if self.pipeline.spec.profiles else {}
        return view.infer(shapes_at(view.inputs, profile, "opt"), values_at(profile, "opt"))

    def _note(self, proof: CellProof, not_parsed: Mapping[str, str]) -> None:
        """Adds a cell to the report, with the reason if its model should have been parsed and was not."""
        notes = list(proof.notes)
        if proof.cell in not_parsed:
            notes.append(f"not parsed by TensorRT: {not_parsed[proof.cell]}")
        parsed = self.parse and proof.buildable and proof.cell not in not_parsed
        self.report.cells.append({**proof.to_json(), "parsed": parsed, "notes": notes})
        if proof.buildable:
            self.report.lines.append(f"ok {proof.cell}" + (f" ({'; '.join(notes)})" if notes else ""))
