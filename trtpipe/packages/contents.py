"""Collects what a package holds: from specs, the build directory and the lockfile, by digest, and never by a build.

`collect` is what every form of package begins with: the index, and for each of its files where the bytes come from. The
same cells give the same contents on every machine: no path, time, host or user is in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from blake3 import blake3

from trtpipe import __version__
from trtpipe.digests import both_digests
from trtpipe.errors import PackageError, SpecError
from trtpipe.loader.grammar import listed, nearest
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.lockfile import read_lock
from trtpipe.packages.cells import EXTERNAL_DATA, MODEL, BuiltCell, built_cells
from trtpipe.packages.index import Fallback, Index, PackedEngine, PackedFile, PackedModel
from trtpipe.packages.index_file import index_bytes, parse_index, reason_of
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import BUILD_DIRECTORY, Workspace, cell_names, open_workspace

Source: TypeAlias = Path | bytes
"""Where the bytes of a file come from: a file on this machine, or the bytes themselves."""


@dataclass(frozen=True)
class Options:
    """What a package may have or lack."""

    name: str | None = None
    """Default: the bundle's name, else the pipelines' names joined by `+`."""
    fallbacks: bool = True
    """Whether the typed models are in it."""


@dataclass(frozen=True)
class Contents:
    """Everything that a package is made of."""

    index: Index
    sources: Mapping[str, Source]
    """Path in the package → where its bytes come from, for every file of `index.files`."""
    root: Path
    """The project's root; nothing in a package depends on it."""
    pipelines: Mapping[str, LoadedPipeline]
    """Pipeline → its spec, for those that the models are of."""
    cells: Mapping[str, BuiltCell]
    """Cell → where it is delivered, and its manifest."""

    def pipeline_of(self, model: PackedModel) -> LoadedPipeline:
        """The spec of a model's pipeline."""
        return self.pipelines[model.pipeline]

    def validation_data(self, model: PackedModel) -> str | None:
        """The name of the data set that a model is validated on."""
        asked = self.pipeline_of(model).spec.validate_
        return asked.data if asked is not None else None


def collect(names: Sequence[str], options: Options | None = None, cwd: Path | None = None) -> Contents:
    """What is to be packaged: of pipelines, all cells; of cells (globs allowed), these. Raises TrtpipeError."""
    cwd, options = cwd or Path.cwd(), options or Options()
    workspace = open_workspace([one for one in names if (cwd / one).is_file()], cwd=cwd, only_to_look=True)
    wanted = _wanted_cells(names, workspace, cwd)
    cells = built_cells(wanted, workspace.root / BUILD_DIRECTORY, read_lock(workspace.lockfile))
    pipelines = {one.spec.pipeline: one for one in workspace.pipelines}
    of_model = {name: [cell for cell in cells if cell.place.pipeline == name] for name in pipelines}
    of_model = {name: found for name, found in of_model.items() if found}
    parts = [_model(name, name, found, options) for name, found in of_model.items()]
    index = Index(
        package=options.name or "+".join(of_model),
        bundle=None,
        made_by=f"trtpipe {__version__}",
        models=tuple(model for model, _ in parts),
        edges=(),
        targets=_targets([model for model, _ in parts]),
        files={},
    )
    sources = {path: source for _, found in parts for path, source in found.items()}
    return Contents(
        _with_digests(index, sources, cells),
        sources,
        workspace.root,
        {name: pipelines[name] for name in of_model},
        {cell.name: cell for cell in cells},
    )


def _wanted_cells(names: Sequence[str], workspace: Workspace, cwd: Path) -> list[str]:
    """The cells that the arguments mean, in the order of the specs. Raises SpecError."""
    known = cell_names(workspace)
    wanted: set[str] = set()
    for name in names:
        globs = _globs(name, workspace, cwd)
        found = [cell for cell in known if any(fnmatchcase(cell, glob) for glob in globs)]
        if not found:
            pipelines = [one.spec.pipeline for one in workspace.pipelines]
            near = nearest(name, [*pipelines, *known])
            advice = f"did you mean {near!r}? " if near else ""
            fact = f"no pipeline and no cell is named {name!r}"
            raise SpecError(Code.NO_MATCH, fact, f"{advice}the pipelines are {listed(pipelines)}")
        wanted.update(found)
    return [cell for cell in known if cell in wanted]


def _globs(name: str, workspace: Workspace, cwd: Path) -> list[str]:
    """The cells that one argument means, as globs: a cell, PIPELINE/VARIANT, a pipeline's name, or a spec's file."""
    if "@" in name:
        return [name]
    path = cwd / name
    if path.is_file():
        same = [one.spec.pipeline for one in workspace.pipelines if one.path.samefile(path)]
        return [f"{pipeline}/*" for pipeline in same]
    return [f"{name}@*" if "/" in name else f"{name}/*"]


def _model(
    name: str, pipeline: str, cells: Sequence[BuiltCell], options: Options
) -> tuple[PackedModel, dict[str, Source]]:
    """One model of the index, and its files."""
    home = f"models/{name}"
    sources: dict[str, Source] = {}
    engines = []
    for cell in cells:
        engine = cell.packed(f"{home}/{cell.place.variant}@{cell.place.target}")
        engines.append(engine)
        sources |= _engine_files(cell, engine)
    fallbacks: tuple[Fallback, ...] = ()
    if options.fallbacks:
        fallbacks = tuple(_fallbacks(home, cells, sources))
    first = engines[0]
    return PackedModel(name, pipeline, first.inputs, first.outputs, {}, fallbacks, tuple(engines)), sources


def _engine_files(cell: BuiltCell, engine: PackedEngine) -> dict[str, Source]:
    beside = {path: cell.folder / path.rpartition("/")[2] for path in (engine.provenance, engine.bom)}
    return {engine.file: cell.engine, engine.manifest: cell.packaged_manifest(), **beside}


def _fallbacks(home: str, cells: Sequence[BuiltCell], sources: dict[str, Source]) -> Iterator[Fallback]:
    """The typed model of each variant; all its targets must have been built from the same. Raises PackageError."""
    by_variant: dict[str, BuiltCell] = {}
    for cell in cells:
        first = by_variant.setdefault(cell.place.variant, cell)
        if first.model_files != cell.model_files:
            fact = f"{first.name} and {cell.name} were built from different typed models"
            raise PackageError(Code.NOT_BUILT, fact, f"run `trtpipe build {cell.place.pipeline}/*@*`")
    for variant, cell in by_variant.items():
        files = {name: f"{home}/{variant}/{name}" for name in cell.model_files}
        sources |= {path: cell.folder / name for name, path in files.items()}
        yield Fallback(
            variant, files[MODEL], files.get(EXTERNAL_DATA), cell.tensors("input"), cell.tensors("output")
        )


def _targets(models: Sequence[PackedModel]) -> dict[str, dict[str, str]]:
    """Target → model → its cell: the first variant that was built for it, the specs' order being their preference."""
    found: dict[str, dict[str, str]] = {}
    for model in models:
        for engine in model.engines:
            found.setdefault(engine.target, {}).setdefault(model.name, engine.cell)
    return found


def _with_digests(index: Index, sources: Mapping[str, Source], cells: Sequence[BuiltCell]) -> Index:
    """The index with the digest of every file; what its manifest says otherwise is an error. Raises PackageError."""
    whole = replace(index, files={path: packed_file(source) for path, source in sources.items()})
    promised = {cell.engine: cell.engine_blake3() for cell in cells}
    promised |= {cell.folder / name: hex_ for cell in cells for name, hex_ in cell.model_files.items()}
    owners = {cell.folder: cell.name for cell in cells}
    for path, source in sources.items():
        if (
            isinstance(source, Path)
            and promised.get(source, whole.files[path].blake3) != whole.files[path].blake3
        ):
            cell = owners[source.parent]
            fact = f"{source.name} of {cell} is not the one that its manifest describes"
            raise PackageError(Code.NOT_BUILT, fact, f"run `trtpipe build {cell}`")
    return parse_index(index_bytes(whole), index.package)  # what could not be read is not written


def packed_file(source: Source) -> PackedFile:
    """The digests of one file. Raises PackageError when it cannot be read."""
    if isinstance(source, bytes):
        import hashlib

        return PackedFile(blake3(source).hexdigest(), hashlib.sha256(source).hexdigest(), len(source))
    try:
        digest, sha256 = both_digests(source)
    except OSError as error:
        raise PackageError(Code.NOT_BUILT, f"cannot read '{source}': {reason_of(error)}") from error
    return PackedFile(digest.hex, sha256, digest.size)
