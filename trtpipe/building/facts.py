"""The facts that a plan is made from: digests of sources and data, versions of tools, the resolved targets.

Digests come from the stat cache, so that no unchanged file is read twice. TensorRT and ONNX Runtime are not imported.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from trtpipe.building.remote_files import fetch_facts, name_plainly, with_fetched
from trtpipe.datasets import dataset_record, source_files
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.errors import ModelError, Problem, SpecError, SpecPath, TrtpipeError
from trtpipe.frontends import Frontend, ModelFiles, frontend_called, is_installed
from trtpipe.loader.project import Project
from trtpipe.loader.specs import GRAFT, LoadedPipeline, load_dataset
from trtpipe.plan.graph import Input, Source, json_ready
from trtpipe.plan.planner.facts import CalibrationFacts, ModelFacts, PipelineFacts, TargetFacts
from trtpipe.problem_codes import Code
from trtpipe.search.steps import candidates_with
from trtpipe.spec.budget import AUTO
from trtpipe.spec.variant import CalibrationSpec, VariantSpec
from trtpipe.stores.state import ProjectState
from trtpipe.workspace.target_facts import TargetResolver

T = TypeVar("T")

_HASH_PIECE = 1 << 20


@dataclass(slots=True)
class FactFinder:
    """Finds the facts of pipelines; problems are collected, each located in its spec."""

    state: ProjectState
    targets: TargetResolver
    problems: list[Problem] = field(default_factory=list)
    _sets: dict[Path, tuple[dict[str, Any], tuple[Source, ...]]] = field(default_factory=dict)

    def facts_of(self, pipeline: LoadedPipeline) -> PipelineFacts | None:
        """The facts of one pipeline, or None when something is wrong (see `problems`)."""
        before = len(self.problems)
        model = self.model_of(pipeline)
        data, data_sources = self._guard(pipeline, ("validate", "data"), lambda: self._data(pipeline)) or (
            None,
            (),
        )
        calibrations = dict(self._calibrations(pipeline))
        targets = dict(self._targets(pipeline))
        graft = self._guard(pipeline, GRAFT, lambda: self._graft(pipeline)) or {}
        if len(self.problems) > before:
            return None
        assert model is not None
        return PipelineFacts(
            model,
            stage_tools(),
            precision_versions(pipeline),
            targets,
            data,
            data_sources,
            self._files(pipeline, "validate", "golden.npz"),
            self._files(pipeline, "plugins", "plugin"),
            graft,
            calibrations,
        )

    def _calibrations(self, pipeline: LoadedPipeline) -> Iterator[tuple[str, CalibrationFacts]]:
        for name, variant in pipeline.spec.variants.items():
            if variant.calibration is None:
                continue
            path = ("variants", name, "calibration")
            find = self._calibration if variant.calibration.cache is None else self._cache
            found = self._guard(pipeline, path, partial(find, pipeline, name))
            if found is not None:
                yield name, found

    def _cache(self, pipeline: LoadedPipeline, variant: str) -> CalibrationFacts:
        from trtpipe.calibration.caches.reader import VERSION

        source = self._source("cache", pipeline.files["variants", variant, "calibration", "cache"])
        return CalibrationFacts({}, (source,), VERSION, _versions("onnx", "onnx-ir"))

    def _calibration(self, pipeline: LoadedPipeline, name: str) -> CalibrationFacts:
        from trtpipe.calibration.calibrators import find_calibrator
        from trtpipe.precisions import find_precision

        variant = pipeline.spec.variants[name]
        asked = variant.calibration
        assert asked is not None, "only variants with a calibration are asked for theirs"
        precisions = [one for called in _computed(variant) if (one := find_precision(called)) is not None]
        scales = any(one.needs_calibration for one in precisions)
        half = any(one.computes_in_half(variant.base) for one in precisions)
        ranges = half and (not scales or variant.overflow is not None)
        calibrator = find_calibrator(asked.backend)
        assert calibrator is not None, "the loader knows the backends"
        refuse_backend(asked)
        assert asked.data is not None, "the spec has data or a cache"
        record, sources = self.dataset(pipeline.project, asked.data)
        tools = _versions("onnx", "numpy", "onnxruntime", *calibrator.packages)
        provider = _provider(asked)
        return CalibrationFacts(record, sources, calibrator.version, tools, scales, ranges, provider)

    def dataset(self, project: Project, name: str) -> tuple[dict[str, Any], tuple[Source, ...]]:
        """A data set's record and its files, listed once however many variants name the set."""
        path = project.dataset(name)
        if path not in self._sets:
            self._sets[path] = self._described(path, project)
        return self._sets[path]

    def _described(self, path: Path, project: Project) -> tuple[dict[str, Any], tuple[Source, ...]]:
        loaded = load_dataset(path, project)
        try:
            files = source_files(loaded.spec, ProjectFiles(project))
            record = json_ready(dataset_record(loaded.spec, {}))
        except SpecError as error:
            raise SpecError([loaded.locate(problem) for problem in error.problems]) from error
        sources = (Source(name, file, self.state.digest(file)) for name, file in sorted(files.items()))
        return record, tuple(sources)

    def model_of(self, pipeline: LoadedPipeline) -> ModelFacts | None:
        """The facts that importing the model depends on, or None when something is wrong (see `problems`)."""
        frontend = frontend_called(pipeline.spec.model.parser)
        tools = self._guard(pipeline, ("model", "parser"), lambda: import_tools(frontend))
        inputs = self._guard(pipeline, ("model", "source"), lambda: self._model_inputs(pipeline, frontend))
        if tools is None or inputs is None:
            return None
        options = json_ready(pipeline.options.model_dump(mode="json", by_alias=True))
        directory = pipeline.model_file is not None and pipeline.model_file.is_dir()
        fetch, names = None, {}
        if pipeline.remotes:
            fetch = fetch_facts(pipeline)
            name_plainly(options, pipeline)
            names = {place: file.name for place, (_, file) in pipeline.option_remotes().items()}
        return ModelFacts(inputs, options, frontend.version, tools, directory, names, fetch)

    def _guard(self, pipeline: LoadedPipeline, path: tuple[str, ...], find: Callable[[], T]) -> T | None:
        """The result of `find`; problems without a place get `path`."""
        try:
            return find()
        except TrtpipeError as error:
            self._note(pipeline, path, error.problems)
        except OSError as error:
            fact = f"{error.filename}: {(error.strerror or str(error)).lower()}"
            self._note(pipeline, path, (Problem(Code.CANNOT_READ, fact),))
        return None

    def _note(self, pipeline: LoadedPipeline, path: tuple[str, ...], problems: tuple[Problem, ...]) -> None:
        for problem in problems:
            placed = problem if problem.path or problem.where else replace(problem, path=path)
            self.problems.append(pipeline.locate(placed))

    def _model_inputs(self, pipeline: LoadedPipeline, frontend: Frontend) -> dict[str, tuple[Input, ...]]:
        """The model as `model.PARSER`, files beside it under their relative names, and the options' files."""
        self.verify_pins(pipeline)
        named = sorted(pipeline.option_files().items())
        slots: dict[str, tuple[Input, ...]] = {
            "source": tuple(self._sources(pipeline, frontend)),
            "files": tuple(self._source(place, file) for place, file in named),
        }
        if pipeline.remotes:
            slots = with_fetched(pipeline, slots)
        return {slot: found for slot, found in slots.items() if found}

    def _sources(self, pipeline: LoadedPipeline, frontend: Frontend) -> Iterator[Source]:
        model = pipeline.model_file
        home = model.resolve().parent if model is not None else pipeline.project.root.resolve()
        if model is not None and model.is_dir():
            for file in sorted(path for path in model.rglob("*") if path.is_file()):
                yield self._source(file.relative_to(model).as_posix(), file)
        elif model is not None:
            yield self._source(f"model.{frontend.name}", model)
        for text in self._belonging(pipeline, frontend, home):
            yield self._source(text, (home / text).resolve())

    def _graft(self, pipeline: LoadedPipeline) -> dict[str, tuple[Source, ...]]:
        """The files that the graft names, and those belonging to them."""
        from trtpipe.weights import files_beside

        named = sorted(pipeline.graft_files().items())
        root = pipeline.project.root.resolve()
        beside = {file.resolve() for _, path in named for file in files_beside(path, root=root)}
        slots = {
            "files": tuple(self._source(place, file) for place, file in named),
            "beside": tuple(
                self._source(Path(os.path.relpath(file, root)).as_posix(), file) for file in sorted(beside)
            ),
        }
        return {slot: found for slot, found in slots.items() if found}

    def _source(self, name: str, file: Path) -> Source:
        return Source(name, file, self.state.digest(file))

    def _belonging(self, pipeline: LoadedPipeline, frontend: Frontend, home: Path) -> list[str]:
        """Other files that belong to the model, relative to its folder; cached until a single-file model changes."""
        if pipeline.remotes:
            return []  # a remote model is not on this machine yet; the fetch step brings the files beside it along
        files = model_files(pipeline)

        def find() -> list[str]:
            found = frontend.belonging(files, pipeline.options)
            return [Path(os.path.relpath(file.resolve(), home)).as_posix() for file in found]

        if files.source is None or files.named:
            return find()
        return self.state.noted_texts(files.source, f"{frontend.name} files", find)

    def verify_pins(self, pipeline: LoadedPipeline) -> None:
        """Raises SpecError when a file's digest is not the one pinned in the spec."""
        problems = [
            _wrong_pin(pipeline, path, found)
            for path, pin in pipeline.pins().items()
            if (found := self._sha256(pipeline.files[path])) != pin
        ]
        if problems:
            raise SpecError(problems)

    def _sha256(self, file: Path) -> str:
        return self.state.noted_text(file, "sha256", lambda: _sha256(file))

    def _data(self, pipeline: LoadedPipeline) -> tuple[dict[str, Any] | None, tuple[Source, ...]]:
        asked = pipeline.spec.validate_
        if asked is None or (asked.data is None and asked.random is None):
            return None, ()
        if asked.random is not None:
            return {"random": json_ready(asked.random.model_dump())}, ()
        assert asked.data is not None
        return self.dataset(pipeline.project, asked.data)

    def _files(self, pipeline: LoadedPipeline, section: str, name: str) -> tuple[Source, ...]:
        files = [file for path, file in pipeline.files.items() if path[0] == section]
        golden = pipeline.spec.validate_ and pipeline.spec.validate_.golden
        if section == "validate" and not golden:
            return ()
        found = (
            self._guard(pipeline, (section,), lambda: [(file, self.state.digest(file)) for file in files])
            or []
        )
        if len(found) == 1:
            return (Source(name, found[0][0], found[0][1]),)
        return tuple(Source(f"{name}{index}", file, digest) for index, (file, digest) in enumerate(found))

    def _targets(self, pipeline: LoadedPipeline) -> Iterator[tuple[str, TargetFacts]]:
        for name in pipeline.spec.targets:
            found = self.targets.resolve(pipeline.spec, name)
            if isinstance(found, TargetFacts):
                yield name, found
            else:
                self.problems.extend(pipeline.locate(problem) for problem in found)


def model_files(pipeline: LoadedPipeline) -> ModelFiles:
    """The model's files in the form that its frontend expects."""
    return ModelFiles(pipeline.model_file, pipeline.option_files(), model_root(pipeline))


def model_root(pipeline: LoadedPipeline) -> Path:
    """The directory that must contain the model's external data: the project, or the folder of a model outside it."""
    root = pipeline.project.root.resolve()
    model = pipeline.model_file.resolve() if pipeline.model_file else root
    return root if model.is_relative_to(root) else model.parent


def _wrong_pin(pipeline: LoadedPipeline, path: SpecPath, found: str) -> Problem:
    remedy = f"check the file's origin, then pin this digest: sha256: {found}"
    if path == ("model", "source"):
        fact = f"{pipeline.spec.model.source} is not the pinned model: its sha256 is {found}"
        return Problem(Code.PIN_MISMATCH, fact, remedy, path=("model", "sha256"))
    return Problem(
        Code.PIN_MISMATCH,
        f"{pipeline.files[path].name} is not the pinned file: its sha256 is {found}",
        remedy,
        path=path,
    )


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASH_PIECE):
            hasher.update(piece)
    return hasher.hexdigest()


def precision_versions(pipeline: LoadedPipeline) -> Mapping[str, int]:
    """Every precision's name → the plug-in's version."""
    from trtpipe.precisions import find_precision

    names = [name for variant in pipeline.spec.variants.values() for name in _computed(variant)]
    versions = {}
    for name in dict.fromkeys(names):
        precision = find_precision(name)
        assert precision is not None, "the loader knows the precisions"
        versions[name] = precision.version
    return versions


def _computed(variant: VariantSpec) -> list[str]:
    """The precision of a variant, or all that a search may choose."""
    return candidates_with(variant.candidates()) if variant.precision == AUTO else [variant.precision]


def import_tools(frontend: Frontend) -> dict[str, str]:
    """The packages that can change the result of importing, with versions. Raises ModelError naming the extra."""
    refuse_missing(f"parser {frontend.name!r}", frontend.packages, frontend.extra)
    return _versions("onnx", "numpy", "onnxruntime", *frontend.packages)


def refuse_missing(who: str, packages: Sequence[str], extra: str) -> None:
    """Raises ModelError with the command that installs packages that a plug-in needs."""
    missing = [name for name in packages if not is_installed(name)]
    if missing:
        remedy = f"install it: pip install 'trtpipe[{extra}]'"
        raise ModelError(Code.MISSING_PACKAGE, f"{who} needs {' and '.join(missing)}", remedy)


@cache
def stage_tools() -> Mapping[str, Mapping[str, str]]:
    """Stage → the packages that can change its result, with their versions."""
    onnx = _versions("onnx", "numpy")
    runtime = _versions("onnxruntime")
    return {
        "transform": {**onnx, **runtime},
        "quantize": {**onnx, **_versions("onnx-ir")},
        "parse": onnx,
        "validate": {**runtime, **_versions("numpy")},
        "readback": {**onnx, **runtime},
    }


def refuse_backend(asked: CalibrationSpec) -> None:
    """Raises ModelError when the calibrator's package is missing, or cannot run where the spec says."""
    from trtpipe.calibration.calibrators import find_calibrator

    calibrator = find_calibrator(asked.backend)
    assert calibrator is not None, "the loader knows the backends"
    refuse_missing(f"backend {asked.backend!r}", calibrator.packages, calibrator.extra)
    _provider(asked)


def _provider(asked: CalibrationSpec) -> str:
    """Where a calibration's model runs; calibrators from libraries run it on the CPU. Raises ModelError."""
    from trtpipe.calibration.calibrators.measurement.providers import provider_of
    from trtpipe.toolchains.detect import driver_may_be_here

    if asked.backend != "trtpipe":
        if asked.provider == "cuda":
            raise ModelError(
                Code.NO_CUDA_PROVIDER,
                f"backend {asked.backend!r} calibrates only on the CPU",
                "leave out provider",
            )
        return "cpu"
    gpu_package = is_installed("onnxruntime-gpu")
    return provider_of(asked.provider, gpu_package=gpu_package, driver=gpu_package and driver_may_be_here())


def _versions(*names: str) -> dict[str, str]:
    return {name: _version(name) for name in names}


@cache
def _version(name: str) -> str:
    """A distribution's version; onnxruntime-gpu contains the same library as onnxruntime."""
    if name == "onnxruntime" and not is_installed(name):
        return metadata.version("onnxruntime-gpu")
    return metadata.version(name)
