"""The facts that a plan needs: digests of sources and data, versions of tools, what each target came to.

Digests come through the stat cache, so that nothing is read twice; TensorRT and ONNX Runtime are not imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from trtpipe.datasets import dataset_record, source_files
from trtpipe.errors import ModelError, Problem, SpecError, TrtpipeError
from trtpipe.loading.specs import LoadedPipeline, load_dataset
from trtpipe.plan.graph import Source, json_ready
from trtpipe.planning import PipelineFacts, TargetFacts
from trtpipe.spec.pipeline import GoldenReference
from trtpipe.stores.state import ProjectState
from trtpipe.system.targets import TargetResolver

_HASH_PIECE = 1 << 20


@dataclass(slots=True)
class FactFinder:
    """Finds the facts of pipelines; problems are collected, each located in its spec."""

    state: ProjectState
    targets: TargetResolver
    problems: list[Problem] = field(default_factory=list)

    def facts_of(self, pipeline: LoadedPipeline) -> PipelineFacts | None:
        """The facts of one pipeline, or None when something is wrong (see `problems`)."""
        before = len(self.problems)
        sources = self._guard(pipeline, ("model", "source"), lambda: tuple(self._sources(pipeline)))
        data, data_sources = self._guard(pipeline, ("validate", "data"), lambda: self._data(pipeline)) or (
            None,
            (),
        )
        targets = dict(self._targets(pipeline))
        if len(self.problems) > before:
            return None
        assert sources is not None
        return PipelineFacts(
            sources,
            stage_tools(),
            plugin_versions(pipeline),
            targets,
            data,
            data_sources,
            self._files(pipeline, "validate", "golden.npz"),
            self._files(pipeline, "plugins", "plugin"),
            {"root": str(pipeline.project.root), "reach": list(reach_of(pipeline))},
        )

    def _guard(self, pipeline: LoadedPipeline, path: tuple[str, ...], find: Any) -> Any:
        """What `find` finds; its problems are located at `path` where they say nothing better."""
        try:
            return find()
        except TrtpipeError as error:
            self._note(pipeline, path, error.problems)
        except OSError as error:
            fact = f"{error.filename}: {(error.strerror or str(error)).lower()}"
            self._note(pipeline, path, (Problem(fact),))
        return None

    def _note(self, pipeline: LoadedPipeline, path: tuple[str, ...], problems: tuple[Problem, ...]) -> None:
        for problem in problems:
            placed = (
                problem if problem.path or problem.where else Problem(problem.fact, problem.remedy, path=path)
            )
            self.problems.append(pipeline.locate(placed))

    def _sources(self, pipeline: LoadedPipeline) -> Iterator[Source]:
        """The model as `model.onnx` and the files that belong to it under their own relative names."""
        model = pipeline.model_file
        verify_pin(pipeline, self.state)
        yield Source("model.onnx", model, self.state.digest(model))
        for text in self.state.noted(model, f"{pipeline.spec.model.parser} files", lambda: _beside(pipeline)):
            path = (model.parent / text).resolve()
            yield Source(text, path, self.state.digest(path))

    def _data(self, pipeline: LoadedPipeline) -> tuple[dict[str, Any] | None, tuple[Source, ...]]:
        asked = pipeline.spec.validate_
        if asked is None or (asked.data is None and asked.random is None):
            return None, ()
        if asked.random is not None:
            return {"random": json_ready(asked.random.model_dump())}, ()
        assert asked.data is not None
        loaded = load_dataset(pipeline.project.dataset(asked.data), pipeline.project)
        files = source_files(loaded.spec, pipeline.project.resolve_source)
        sources = tuple(Source(name, file, self.state.digest(file)) for name, file in sorted(files.items()))
        record = json_ready(dataset_record(loaded.spec, {}))
        return record, sources

    def _files(self, pipeline: LoadedPipeline, section: str, name: str) -> tuple[Source, ...]:
        files = [file for path, file in pipeline.files.items() if path[0] == section]
        golden = pipeline.spec.validate_ and isinstance(pipeline.spec.validate_.reference, GoldenReference)
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


def reach_of(pipeline: LoadedPipeline) -> tuple[str, ...]:
    """The directories from which this pipeline's model may be read."""
    spec = pipeline.project.spec
    return spec.reach if spec else ()


def model_root(pipeline: LoadedPipeline) -> Path | None:
    """The directory that the model's external data must stay in: the project, or the model's own when outside."""
    model, root = pipeline.model_file.resolve(), pipeline.project.root.resolve()
    return root if model.is_relative_to(root) else model.parent


def _beside(pipeline: LoadedPipeline) -> list[str]:
    """The files that belong to the model, relative to its folder."""
    from trtpipe.frontends import find_frontend

    frontend = find_frontend(pipeline.spec.model.parser)
    if frontend is None:
        raise ModelError(f"no parser {pipeline.spec.model.parser!r}")
    model = pipeline.model_file
    files = frontend.sources(model, model_root(pipeline))[1:]
    home = model.resolve().parent
    return [str(file.resolve().relative_to(home)) for file in files]


def verify_pin(pipeline: LoadedPipeline, state: ProjectState) -> None:
    """Raises SpecError when the model is not the one whose digest the spec pins."""
    pin, model = pipeline.spec.model.sha256, pipeline.model_file
    if pin is None:
        return
    found = state.noted(model, "sha256", lambda: _sha256(model))
    if found != pin.lower():
        fact = f"{pipeline.spec.model.source} is not the pinned model: its sha256 is {found}"
        raise SpecError(
            Problem(fact, "check where it came from, then pin this digest", path=("model", "sha256"))
        )


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASH_PIECE):
            hasher.update(piece)
    return hasher.hexdigest()


def plugin_versions(pipeline: LoadedPipeline) -> Mapping[str, int]:
    """`parser` and every precision's name → the plug-in's version."""
    from trtpipe.frontends import find_frontend
    from trtpipe.precisions import find_precision

    frontend = find_frontend(pipeline.spec.model.parser)
    assert frontend is not None, "the loader knows the parsers"
    versions = {"parser": frontend.version}
    for variant in pipeline.spec.variants.values():
        precision = find_precision(variant.precision)
        assert precision is not None, "the loader knows the precisions"
        versions[variant.precision] = precision.version
    return versions


@cache
def stage_tools() -> Mapping[str, Mapping[str, str]]:
    """Stage → the packages that can change its result, with their versions."""
    onnx = _versions("onnx", "numpy")
    runtime = _versions("onnxruntime")
    return {
        "import": {**onnx, **runtime},
        "transform": {**onnx, **runtime},
        "quantize": {**onnx, **_versions("onnx-ir")},
        "validate": {**runtime, **_versions("numpy")},
    }


def _versions(*names: str) -> dict[str, str]:
    return {name: metadata.version(name) for name in names}
