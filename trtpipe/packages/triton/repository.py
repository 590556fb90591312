"""A package as a Triton model repository: the files of `repository/`, and how the server is started.

The package stays one: its index names the engines where the repository has them, so that it is verified, signed and
selected from like any other. Manifests, provenance and BOM stand where they always do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trtpipe.errors import PackageError
from trtpipe.json_values import texts_in
from trtpipe.packages.contents import Contents, Source, packed_file
from trtpipe.packages.index import Index, PackedEngine, PackedFile, PackedModel
from trtpipe.packages.triton.batch_proof import outputs_follow
from trtpipe.packages.triton.batches import asked_batches, most_batches
from trtpipe.packages.triton.bundles import ensembles_of, refuse_driver
from trtpipe.packages.triton.config import CONFIG, ModelConfig, config_of, config_text
from trtpipe.packages.triton.ensemble import ensemble_text
from trtpipe.packages.triton.models import Served, served_engines, served_models, sharing
from trtpipe.packages.triton.server import Needs, notes_of, start_lines
from trtpipe.packages.triton.warmup_data import warmup_data
from trtpipe.problem_codes import Code
from trtpipe.spec.packaging import PackageSpec, TritonBackend, TritonSpec

FOLDER = "repository"
"""What the server is pointed to. Triton takes every folder in it for a model, so nothing else is there."""
_EMPTY = b"An ensemble has no file of its own, but Triton wants the directory of its version.\n"


@dataclass
class _Files:
    """What was put where so far."""

    sources: dict[str, Source] = field(default_factory=dict)
    engines: dict[tuple[str, str], str] = field(default_factory=dict)
    """Model and cell → the engine's new path."""
    fallbacks: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    """Model and variant → the new paths of the typed model and of its external data."""
    configs: dict[str, ModelConfig] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Repository:
    """A package whose files are a model repository."""

    contents: Contents
    start: tuple[str, ...]
    """The command that starts the server, an argument on each line."""
    notes: tuple[str, ...]
    """What to know before."""


def repository_of(contents: Contents, backend: TritonBackend | None = None) -> Repository:
    """The repository; `backend` instead of the specs'. Raises TrtpipeError for what Triton has no way to serve."""
    index = contents.index
    specs = {model.name: _spec(contents, model, backend) for model in index.models}
    backends = {spec.backend for spec in specs.values()}
    if len(backends) > 1:
        fact = "some models are for Triton's TensorRT backend and some for its ONNX Runtime backend"
        raise PackageError(Code.NOT_SERVABLE, fact, "say one for all of them with --backend")
    engines = backends == {"tensorrt"}
    served = served_engines(index) if engines else served_models(index)
    files = _Files()
    for one in served:
        _add_model(files, contents, one, specs[one.model.name])
    ensembles = _add_ensembles(files, contents, served)
    alone = sharing(served)
    if alone and ensembles:
        alone = [ensembles]  # whoever loads an ensemble loads its members
    needs = _needs([engine for one in served for engine in one.engines] if engines else [], alone)
    notes = (*files.notes, *notes_of(needs, alone))
    return Repository(_repacked(contents, files), tuple(start_lines(needs)), notes)


def _spec(contents: Contents, model: PackedModel, backend: TritonBackend | None) -> TritonSpec:
    """What a model's spec says, and the bundle's where that says nothing."""
    package = contents.pipeline_of(model).package or PackageSpec()
    own = {name: getattr(package.triton, name) for name in package.triton.model_fields_set}
    shared = contents.bundle.spec.package.triton if contents.bundle is not None else TritonSpec()
    return shared.model_copy(update=own | ({"backend": backend} if backend else {}))


def _add_ensembles(files: _Files, contents: Contents, served: Sequence[Served]) -> list[str]:
    """The ensembles of a bundle, and their names. Raises PackageError for a bundle that a driver runs."""
    bundle = contents.bundle
    if bundle is not None and bundle.spec.python is not None:
        refuse_driver(bundle.name, list(dict.fromkeys(one.model.pipeline for one in served)))
    outputs = bundle.spec.outputs if bundle is not None else ()
    found = ensembles_of(contents.index, outputs, served, files.configs)
    for ensemble in found:
        home = f"{FOLDER}/{ensemble.name}"
        files.sources[f"{home}/{CONFIG}"] = ensemble_text(ensemble).encode()
        files.sources[f"{home}/1/README"] = _EMPTY
    return [one.name for one in found]


def _add_model(files: _Files, contents: Contents, served: Served, spec: TritonSpec) -> None:
    """The directory of one model."""
    home = f"{FOLDER}/{served.name}"
    config = config_of(spec, served.name, served.tensors, _batches(files, contents, served, spec))
    warmup = warmup_data(spec.warmup, contents, served.model, served.engines[0], config.max_batch_size)
    config = replace(
        config,
        profiles=max(len(served.engines[0].profiles), 1),
        labels=_labels(files, contents, served, home),
        warmup=warmup.requests,
    )
    add = _add_engines if spec.backend == "tensorrt" else _add_typed
    config = add(files, contents, served, config, f"{home}/{spec.version}")
    files.sources |= {f"{home}/{path}": content for path, content in (warmup.files or {}).items()}
    files.sources[f"{home}/{CONFIG}"] = config_text(config).encode()
    files.configs[served.name] = config


def _batches(files: _Files, contents: Contents, served: Served, spec: TritonSpec) -> int:
    profiles = served.engines[0].profiles
    follows = outputs_follow(_typed_model(contents, served), *served.tensors, profiles)
    if spec.max_batch_size is not None:
        return asked_batches(spec.max_batch_size, served.name, served.tensors, profiles, follows)
    found = most_batches(*served.tensors, profiles, follows)
    if not found.most:
        files.notes.append(f"{served.name} takes no batches: {found.why}")
    return found.most


def _typed_model(contents: Contents, served: Served) -> Path | None:
    """The file of the typed model, whether it is packaged or not."""
    cell = contents.cells.get(served.engines[0].cell)
    path = cell.folder / "model.onnx" if cell is not None else None
    return path if path is not None and path.is_file() else None


def _labels(files: _Files, contents: Contents, served: Served, home: str) -> dict[str, str]:
    """Output → the file's name in the model's directory, where Triton looks for it."""
    names = {path: path.rpartition("/")[2] for path in sorted(set(served.model.labels.values()))}
    for path, name in names.items():
        files.sources[path] = files.sources[f"{home}/{name}"] = contents.sources[path]
    return {output: names[path] for output, path in served.model.labels.items()}


def _add_engines(
    files: _Files, contents: Contents, served: Served, config: ModelConfig, version: str
) -> ModelConfig:
    by_capability: dict[str, str] = {}
    for engine in served.engines:
        name = _plan_of(engine.target)
        files.engines[served.model.name, engine.cell] = f"{version}/{name}"
        files.sources[f"{version}/{name}"] = contents.sources[engine.file]
        for path in (engine.manifest, engine.provenance, engine.bom):
            files.sources[path] = contents.sources[path]
        by_capability |= dict.fromkeys(engine.compute_capabilities, name)
    return replace(config, files=by_capability)


def _plan_of(target: str) -> str:
    """The engine's file; never `model.plan`, which Triton would load on a GPU that nobody built for."""
    return f"{target}-engine.plan" if target.lower() == "model" else f"{target}.plan"


def _add_typed(
    files: _Files, contents: Contents, served: Served, config: ModelConfig, version: str
) -> ModelConfig:
    fallback = served.fallback
    assert fallback is not None, "served_models refuses those without"
    name = fallback.file.rpartition("/")[2]
    data = fallback.external_data and f"{version}/{fallback.external_data.rpartition('/')[2]}"
    files.fallbacks[served.model.name, fallback.variant] = (f"{version}/{name}", data)
    files.sources[f"{version}/{name}"] = contents.sources[fallback.file]
    if data and fallback.external_data:
        files.sources[data] = contents.sources[fallback.external_data]
    cell = contents.cells.get(served.engines[0].cell)
    said = cell.manifest if cell is not None and "other_runtimes" in cell.manifest else {}
    files.notes += [f"{served.name}: {one}" for one in (texts_in(said, "other_runtimes") if said else [])]
    return replace(config, default_file=name)


def _needs(engines: Sequence[PackedEngine], alone: Sequence[Sequence[str]]) -> Needs:
    """`alone`: groups of models of which a server loads one."""
    plugins = sorted({name for engine in engines for name in engine.plugins})
    compatible = any(engine.version_compatible for engine in engines)
    return Needs(tuple(plugins), compatible, tuple(names[0] for names in alone))


def _repacked(contents: Contents, files: _Files) -> Contents:
    """The contents with the files where the repository has them, and an index that says so."""
    models = tuple(_repacked_model(model, files) for model in contents.index.models)
    digests = _digests(contents, files.sources)
    targets = contents.index.targets if files.engines else {}
    index: Index = replace(contents.index, models=models, files=digests, targets=targets)
    return replace(contents, index=index, sources=files.sources)


def _digests(contents: Contents, sources: Mapping[str, Source]) -> dict[str, PackedFile]:
    """The digest of every file; those of large ones are known."""
    known = {
        source: contents.index.files[path]
        for path, source in contents.sources.items()
        if isinstance(source, Path)
    }
    return {
        path: known[source] if isinstance(source, Path) and source in known else packed_file(source)
        for path, source in sources.items()
    }


def _repacked_model(model: PackedModel, files: _Files) -> PackedModel:
    engines = tuple(
        replace(engine, file=path)
        for engine in model.engines
        if (path := files.engines.get((model.name, engine.cell)))
    )
    fallbacks = tuple(
        replace(one, file=paths[0], external_data=paths[1])
        for one in model.fallbacks
        if (paths := files.fallbacks.get((model.name, one.variant)))
    )
    return replace(model, engines=engines, fallbacks=fallbacks)
