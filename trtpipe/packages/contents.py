"""Collects what a package holds: from specs, the build directory and the lockfile, by digest, and never by a build.

`collect` is what every form of package begins with: the index, and for each of its files where the bytes come from. The
same cells give the same contents on every machine: no path, time, host or user is in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from blake3 import blake3

from trtpipe import __version__
from trtpipe.digests import both_digests
from trtpipe.errors import PackageError, SpecError
from trtpipe.json_values import JsonObject, Malformed
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.packages.asked import AskedModel, what_is_asked
from trtpipe.packages.cells import EXTERNAL_DATA, MODEL, BuiltCell, built_cells
from trtpipe.packages.index import Fallback, Index, PackedEngine, PackedFile, PackedModel
from trtpipe.packages.index_file import index_bytes, parse_index, reason_of, refuse_path
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.loader.bundles import LoadedBundle

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
    bundle: LoadedBundle | None = None

    def pipeline_of(self, model: PackedModel) -> LoadedPipeline:
        """The spec of a model's pipeline."""
        return self.pipelines[model.pipeline]

    def validation_data(self, model: PackedModel) -> str | None:
        """The name of the data set that a model is validated on."""
        asked = self.pipeline_of(model).spec.validate_
        return asked.data if asked is not None else None


def collect(names: Sequence[str], options: Options | None = None, cwd: Path | None = None) -> Contents:
    """What is to be packaged: of pipelines all cells, of cells (globs allowed) these, or one bundle.

    Raises TrtpipeError, also when something of it is not built.
    """
    cwd, options = cwd or Path.cwd(), options or Options()
    _refuse_name(options.name)
    asked = what_is_asked(names, cwd)
    cells = built_cells(asked.cells, asked.workspace.build, asked.lock.cells)
    found = {cell.name: cell for cell in cells}
    parts = [_model(one, found, options) for one in asked.models]
    models = tuple(model for model, _ in parts)
    bundle = asked.built.bundle if asked.built else None
    index = Index(
        package=options.name or (bundle.name if bundle else "+".join(model.name for model in models)),
        bundle=bundle.name if bundle else None,
        made_by=f"trtpipe {__version__}",
        models=models,
        edges=_edges(bundle),
        targets=asked.targets,
        files={},
    )
    sources = {path: source for _, files in parts for path, source in files.items()}
    if asked.built is not None:
        asked.built.refuse_others(found)
        sources[asked.built.file.name] = asked.built.file
    pipelines = {one.pipeline.spec.pipeline: one.pipeline for one in asked.models}
    return Contents(
        _with_digests(index, sources, cells), sources, asked.workspace.root, pipelines, found, bundle
    )


def _refuse_name(name: str | None) -> None:
    """Raises SpecError for a name that cannot be a file's on every system."""
    try:
        refuse_path(name if name is not None else "default")
        odd = "/" in (name or "")
    except Malformed:
        odd = True
    if odd:
        raise SpecError(
            Code.BAD_ARGUMENT, f"--name {name!r} is no name for a package: it must be one for a file"
        )


def _model(
    asked: AskedModel, cells: Mapping[str, BuiltCell], options: Options
) -> tuple[PackedModel, dict[str, Source]]:
    """One model of the index, and its files."""
    pipeline = asked.pipeline.spec.pipeline
    sources: dict[str, Source] = {}
    engines = []
    mine = [cells[name] for name in asked.cells]
    home = f"models/{mine[0].place.pipeline}"  # of a bundle's member that has a reshape or cast in front: its own
    for cell in mine:
        engine = cell.packed(f"{home}/{cell.place.variant}@{cell.place.target}")
        engines.append(engine)
        sources |= _engine_files(cell, engine)
    fallbacks = tuple(_fallbacks(home, mine, sources)) if options.fallbacks else ()
    first = engines[0]
    labels = _labels(asked, [one.name for one in first.outputs], sources)
    model = PackedModel(asked.name, pipeline, first.inputs, first.outputs, labels, fallbacks, tuple(engines))
    return model, sources


def _edges(bundle: LoadedBundle | None) -> tuple[JsonObject, ...]:
    if bundle is None:
        return ()
    from trtpipe.packages.bundles import edges_of

    return tuple(edges_of(bundle))


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
            remedy = f"run `trtpipe build {first.name} {cell.name}`"
            raise PackageError(Code.NOT_BUILT, fact, remedy)
    for variant, cell in by_variant.items():
        files = {name: f"{home}/{variant}/{name}" for name in cell.model_files}
        sources |= {path: cell.folder / name for name, path in files.items()}
        yield Fallback(
            variant, files[MODEL], files.get(EXTERNAL_DATA), cell.tensors("input"), cell.tensors("output")
        )


def _labels(asked: AskedModel, outputs: Sequence[str], sources: dict[str, Source]) -> dict[str, str]:
    """Output → its file of labels in the package: one file, or several that are numbered."""
    named = {output: file for output in outputs if (file := asked.labels_of(output)) is not None}
    files = list(dict.fromkeys(named.values()))
    numbers = {file: f"-{number}" if len(files) > 1 else "" for number, file in enumerate(files, 1)}
    places = {file: f"labels/{asked.name}{numbers[file]}.txt" for file in files}
    sources |= {place: file for file, place in places.items()}
    return {output: places[file] for output, file in named.items()}


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
