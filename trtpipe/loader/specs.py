"""Loads spec files: reads, merges the project's defaults, validates and cross-checks; reports all problems at once.

Does every check that needs no model; shapes and precisions are checked in `proofs/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.json_values import JsonObject
from trtpipe.loader.auto_variants import auto_problems
from trtpipe.loader.defaults import with_defaults
from trtpipe.loader.grammar import AnyOptions, KnownNames, Parser, choose_from
from trtpipe.loader.labels import label_files, named_labels
from trtpipe.loader.marks import Document
from trtpipe.loader.named_sets import cache_files, calibration_problems, unknown_set
from trtpipe.loader.plain import Written
from trtpipe.loader.project import Project
from trtpipe.loader.refusals import in_file_order, stop_at, validated
from trtpipe.loader.remotes import misplaced_pins, named_remotely, unfetchable
from trtpipe.loader.scalars import shortened
from trtpipe.loader.yaml_reader import read_document
from trtpipe.problem_codes import Code
from trtpipe.spec.budget import AUTO
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.spec.fields import PinnedText, named_files
from trtpipe.spec.pipeline import ModelSpec, PipelineSpec, TargetSpec
from trtpipe.spec.remote import RemoteFile

if TYPE_CHECKING:
    from trtpipe.spec.packaging import PackageSpec

_SHARED = ("targets", "toolchains", "builder")
_NOTHING = ("", "~", "null")
_SOURCE: SpecPath = ("model", "source")
_OPTIONS: SpecPath = ("model", "options")
GRAFT = ("transform", "graft")


_UNKNOWN_PARSER = Parser(AnyOptions, takes_directory=True)


@dataclass(frozen=True)
class Joint:
    """Marks a pipeline that is another one with a bundle's reshapes and casts in front of its inputs."""

    pipeline: str
    """The other's name."""
    graft: JsonObject
    """The layers in front, as `transform.graft` has them."""


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline with the project's defaults in it, where it was written, and the files that it names."""

    path: Path
    spec: PipelineSpec
    project: Project
    document: Document
    files: Mapping[SpecPath, Path]
    """Path in the spec → the existing file that it names, e.g. ("model", "source")."""
    options: BaseModel
    """`model.options`, as the parser's own model."""
    remotes: Mapping[SpecPath, RemoteFile] = field(default_factory=dict)
    """Path in the spec → the file that is to be fetched; these paths are not in `files`."""
    graft: BaseModel | None = None
    """`transform.graft`, as its own model."""
    package: PackageSpec | None = None
    """`package`, as its own model."""
    joint: Joint | None = None
    """Of a bundle's member that is built with other inputs than the pipeline's model."""

    def label_files(self) -> dict[str, Path]:
        """Globs of outputs → the file of their classes' names; the last match counts."""
        return label_files(self.files)

    @property
    def model_file(self) -> Path | None:
        """The file that `model.source` names; None for a parser that needs none, and for a remote file."""
        return self.files.get(_SOURCE)

    def option_files(self) -> dict[str, Path]:
        """The local files that the parser's options name, by their place there: `weights`, `layers.3.weights`."""
        return {place: self.files[path] for place, path in _places(self.files)}

    def graft_files(self) -> dict[str, Path]:
        """The files that the graft names, by their place there: `weights`, `weights.head`."""
        inside = ((path, file) for path, file in self.files.items() if path[: len(GRAFT)] == GRAFT)
        return {".".join(map(str, path[len(GRAFT) :])): file for path, file in inside}

    def option_remotes(self) -> dict[str, tuple[SpecPath, RemoteFile]]:
        """The remote files that the parser's options name, by their place there, with their path in the spec."""
        return {place: (path, self.remotes[path]) for place, path in _places(self.remotes)}

    def pins(self) -> dict[SpecPath, str]:
        """Path in the spec → the pinned SHA-256 of the local file named there."""
        pinned = [(_SOURCE, self.spec.model.sha256)] if self.spec.model.sha256 else []
        options = [
            (path, text.sha256)
            for path, text in _files_of(self.options, _OPTIONS)
            if isinstance(text, PinnedText)
        ]
        return {path: sha256.lower() for path, sha256 in (*pinned, *options) if path in self.files}

    def locate(self, problem: Problem) -> Problem:
        """The problem with its place in the pipeline's file, or in `trtpipe.yaml` if the value is there."""
        return _located(problem, self.document, self.project)

    def source_of(self, path: SpecPath) -> Document:
        """The file that a value at a path comes from: the pipeline's, or `trtpipe.yaml`."""
        whole = path[: 1 if path[:1] == ("builder",) else 2]
        here = self.document.has(whole) and self.document.written(whole) not in _NOTHING
        shared = self.project.document
        if not here and shared is not None and path[0] in _SHARED and shared.has(whole):
            return shared
        return self.document


def _places(paths: Iterable[SpecPath]) -> Iterator[tuple[str, SpecPath]]:
    """The paths inside the parser's options: the part below the options as text, and the whole path."""
    for path in paths:
        if path[: len(_OPTIONS)] == _OPTIONS:
            yield ".".join(map(str, path[len(_OPTIONS) :])), path


def _located(problem: Problem, document: Document, project: Project) -> Problem:
    if problem.where is not None:
        return problem
    here = document.has(problem.path) and document.written(problem.path) not in _NOTHING
    shared = not here and problem.path and problem.path[0] in _SHARED
    where = project.locate(problem.path) if shared else None
    return problem.at(where or document.locate(problem.path))


@dataclass(frozen=True)
class LoadedDataset:
    """A data set, where it was written, and the files that it names."""

    name: str
    path: Path
    spec: DatasetSpec
    document: Document
    files: Mapping[SpecPath, Path]
    """Path in the spec → the existing file that it names, e.g. ("npz",)."""

    def locate(self, problem: Problem) -> Problem:
        """The problem with its place in the data set's file."""
        return problem if problem.where else problem.at(self.document.locate(problem.path))


def load_pipeline(path: Path, project: Project, known: KnownNames) -> LoadedPipeline:
    """The pipeline in a file, merged with its project's defaults. Raises SpecError with all its problems."""
    return pipeline_in(complete_document(path), path, project, known)


def pipeline_in(document: Document, path: Path, project: Project, known: KnownNames) -> LoadedPipeline:
    """The pipeline in a document that was read from a path. Raises SpecError with all its problems."""
    data, problems = with_defaults(document, project)
    spec, refused = validated(PipelineSpec, document, data)
    refused = [_neither(problem) for problem in refused]
    problems += [*document.problems, *refused, *_unknown_names(document, known)]
    parser = _parser(data, known)
    options, refused = _options(document, parser)
    graft, ungrafted = _graft(document)
    package, unpacked = _package(document)
    problems += [*refused, *ungrafted, *unpacked]
    files: dict[SpecPath, Path] = {}
    wrong = [*_unknown_toolchains(data), *_unknown_data(data, project), *_sourceless(data, parser)]
    wrong += [*calibration_problems(data, project, known), *auto_problems(data, known)]
    remotes: dict[SpecPath, RemoteFile] = {}
    of_model = [(_SOURCE, _source_text(data)), *_files_of(options, _OPTIONS)]
    wrong += unfetchable(of_model, remotes)
    named = [(path, text) for path, text in of_model if not named_remotely(text)]
    named += [*_other_files(data), *cache_files(data), *_files_of(graft, GRAFT)]
    named += named_labels(data.get("package"), ("package",))
    wrong += unresolved(named, project, files, parser.takes_directory)
    wrong += misplaced_pins(_at(data, ("model",)), ModelSpec().parser)
    problems += [_located(problem, document, project) for problem in wrong]
    stop_at(in_file_order(problems))
    assert spec is not None and options is not None, "a spec without problems is valid"
    grafted = _with_graft(spec, graft)
    return LoadedPipeline(path, grafted, project, document, files, options, remotes, graft, package)


def _neither(problem: Problem) -> Problem:
    """The problem; if it is that the file is not said to be a pipeline, it names both kinds of file that there are."""
    if problem.code is not Code.MISSING_KEY or problem.path != ("pipeline",):
        return problem
    return replace(
        problem,
        fact="missing key 'pipeline' or 'bundle'",
        remedy="for example pipeline: ocr-det; or, for several pipelines as one product, bundle: ocr",
    )


def _parser(data: Written, known: KnownNames) -> Parser:
    """The parser that the spec names; if it is unknown, one that accepts anything."""
    name = _at(data, ("model", "parser")) or ModelSpec().parser
    return known.parser(name) if name in known.parsers else _UNKNOWN_PARSER


def _options(document: Document, parser: Parser) -> tuple[BaseModel | None, list[Problem]]:
    data = _at(document.data, _OPTIONS)
    if data is not None and not isinstance(data, dict):
        return None, []  # validation has already reported it
    return validated(parser.options, document, data or {}, _OPTIONS)


def _graft(document: Document) -> tuple[BaseModel | None, list[Problem]]:
    data = _at(document.data, GRAFT)
    if not isinstance(data, dict):
        return None, []
    from trtpipe.spec.network.network import GraftSpec  # imported only when needed: it has forty models

    return validated(GraftSpec, document, data, GRAFT)


def _package(document: Document) -> tuple[PackageSpec | None, list[Problem]]:
    data = document.data.get("package")
    if not isinstance(data, dict):
        return None, []
    from trtpipe.spec.packaging import PackageSpec  # imported only when needed: it has five models

    return validated(PackageSpec, document, data, ("package",))


def _with_graft(spec: PipelineSpec, graft: BaseModel | None) -> PipelineSpec:
    """The spec with the graft's defaults filled in, so that equivalent specs are equal."""
    if graft is None or spec.transform is None:
        return spec
    whole = spec.transform.model_copy(update={"graft": graft.model_dump(mode="json")})
    return spec.model_copy(update={"transform": whole})


def _files_of(model: BaseModel | None, place: SpecPath) -> Iterator[tuple[SpecPath, str]]:
    for path, text in named_files(model) if model is not None else ():
        yield (*place, *path), text


def _sourceless(data: Written, parser: Parser) -> Iterator[Problem]:
    model = _at(data, ("model",))
    if not isinstance(model, dict) or parser is _UNKNOWN_PARSER:
        return
    if parser.needs_source and model.get("source") is None:
        remedy = "for example source: models/ocr_det.onnx"
        yield Problem(Code.MISSING_KEY, "missing key 'source' in 'model'", remedy, path=("model",))
    if not parser.needs_source and model.get("source") is not None:
        parsed = model.get("parser")
        yield Problem(
            Code.NO_EFFECT,
            f"parser {parsed!r} uses no source",
            "name its files in model.options",
            path=_SOURCE,
        )


def load_dataset(path: Path, project: Project) -> LoadedDataset:
    """The data set in a file; `Project.dataset` gives the file of a name. Raises SpecError with all its problems."""
    document = complete_document(path)
    spec, refused = validated(DatasetSpec, document, document.data)
    files: dict[SpecPath, Path] = {}
    wrong = unresolved(_dataset_files(document.data), project, files)
    problems = [*document.problems, *refused]
    problems += [problem.at(document.locate(problem.path)) for problem in wrong]
    stop_at(in_file_order(problems))
    assert spec is not None, "a spec without problems is valid"
    return LoadedDataset(path.stem, path, spec, document, files)


def complete_document(path: Path) -> Document:
    """A spec file as it was written. Raises SpecError if it could not be read to its end."""
    document = read_document(path)
    if not document.complete:
        stop_at(document.problems)
    return document


def _unknown_names(document: Document, known: KnownNames) -> list[Problem]:
    """Unknown parsers and precisions; checked on the raw data, so that they are reported for an invalid spec too."""
    data = document.data
    found = [_unknown(document, ("model", "parser"), known.parsers, "parser")]
    variants = data.get("variants")
    named = tuple(map(str, variants)) if isinstance(variants, dict) else ("fp32",)
    found.append(_unknown(document, ("validate", "reference", "variant"), named, "variant"))
    for name, variant in variants.items() if isinstance(variants, dict) else ():
        path = ("variants", name)
        found.append(_unknown(document, (*path, "precision"), (*known.precisions, AUTO), "precision"))
        keep = variant.get("keep") if isinstance(variant, dict) else None
        for precision in keep if isinstance(keep, dict) else ():
            if precision not in known.precisions:
                fact = f"unknown precision {precision!r}"
                remedy = choose_from(precision, known.precisions, "precisions")
                found.append(
                    document.problem(Code.UNKNOWN_NAME, fact, remedy, (*path, "keep", precision), key=True)
                )
    return [problem for problem in found if problem is not None]


def _unknown(document: Document, path: SpecPath, valid: Iterable[str], noun: str) -> Problem | None:
    value = _at(document.data, path)
    if not isinstance(value, str) or value in valid:
        return None
    fact = f"unknown {noun} {shortened(value)!r}"
    return document.problem(Code.UNKNOWN_NAME, fact, choose_from(value, valid, f"{noun}s"), path)


def _at(data: object, path: SpecPath) -> object:
    """The value at a path; None if there is none."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _unknown_toolchains(data: Written) -> Iterator[Problem]:
    """Toolchains that targets name but nothing defines, in the merged data."""
    toolchains, targets = data.get("toolchains"), data.get("targets")
    if not isinstance(toolchains, dict) or not isinstance(targets, dict):
        return
    for name, target in targets.items():
        toolchain = target.toolchain if isinstance(target, TargetSpec) else _at(target, ("toolchain",))
        if isinstance(toolchain, str) and toolchain not in toolchains:
            fact = f"unknown toolchain {shortened(toolchain)!r}"
            remedy = choose_from(toolchain, toolchains, "toolchains")
            yield Problem(Code.UNKNOWN_NAME, fact, remedy, path=("targets", name, "toolchain"))


def _unknown_data(data: Written, project: Project) -> tuple[Problem, ...]:
    path = ("validate", "data")
    name = _at(data, path)
    return unknown_set(name, path, project) if isinstance(name, str) else ()


def _source_text(data: Written) -> object:
    """The model's source, with its pin."""
    text, sha256 = _at(data, _SOURCE), _at(data, ("model", "sha256"))
    return PinnedText(text, sha256) if isinstance(text, str) and isinstance(sha256, str) else text


def _other_files(data: Written) -> Iterator[tuple[SpecPath, object]]:
    plugins = data.get("plugins")
    for index, plugin in enumerate(plugins if isinstance(plugins, list) else ()):
        yield ("plugins", index, "library"), _at(plugin, ("library",))
    yield ("validate", "reference", "golden"), _at(data, ("validate", "reference", "golden"))


def _dataset_files(data: Written) -> Iterator[tuple[SpecPath, object]]:
    yield from (((kind,), data.get(kind)) for kind in ("npz", "safetensors"))
    arrays = data.get("npy")
    for name, file in arrays.items() if isinstance(arrays, dict) else ():
        yield ("npy", name), file


def unresolved(
    named: Iterable[tuple[SpecPath, object]],
    project: Project,
    files: dict[SpecPath, Path],
    directory: bool = False,
) -> Iterator[Problem]:
    """The problems of the files that cannot be found; the others are put into `files`.

    Only the model's source may be a directory, and only where `directory` says so.
    """
    for path, text in named:
        may = directory and path == _SOURCE
        found = _resolved(text, path, project, may) if isinstance(text, str) else ()
        if isinstance(found, Path):
            files[path] = found
        else:
            yield from found


def _resolved(text: str, path: SpecPath, project: Project, directory: bool) -> Path | tuple[Problem, ...]:
    try:
        return project.resolve_source(text, path, directory=directory)
    except SpecError as error:
        return error.problems
