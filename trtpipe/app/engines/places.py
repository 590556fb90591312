"""Finds what `run` and `bench` should run: a delivered cell, its directory, an engine or a typed model.

Reads the build directory only, no spec, so a directory that was copied to the machine with the GPU is sufficient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trtpipe.errors import ModelError, SpecError
from trtpipe.inspection.file_kind import kind_of_file
from trtpipe.loader.grammar import listed, nearest
from trtpipe.loader.project import find_root
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.signature import Signature, signature_of_manifest, signature_of_model
from trtpipe.runners.inference.delivered import ENGINE, MANIFEST, read_manifest
from trtpipe.workspace.workspace import BUILD_DIRECTORY

MODEL = "model.onnx"


@dataclass(frozen=True)
class Place:
    """Something that can be run."""

    name: str
    """The cell, or the file as it was named."""
    folder: Path
    engine: Path | None
    model: Path | None
    manifest: Mapping[str, Any] | None = None
    """The manifest beside the engine."""
    only_model: bool = False
    """Whether a typed model was named, not an engine."""

    def signature(self) -> Signature | None:
        """The inputs and outputs; None when they can only be read from the engine itself. Raises ModelError."""
        if self.manifest is not None:
            told = signature_of_manifest(self.manifest, self.folder / MANIFEST)
            return told if not self.only_model or self.model is None else _of_model(self.model, told)
        return signature_of_model(self.model) if self.model is not None else None


def _of_model(model: Path, told: Signature) -> Signature:
    """A typed model's own signature, with the profiles that the manifest beside it has for its inputs."""
    found = signature_of_model(model)
    return found if found.names != told.names else Signature(found.inputs, found.outputs, told.profiles)


def find_places(text: str, cwd: Path | None = None) -> list[Place]:
    """What an argument means: an existing path, or cells of the build directory (globs allowed). Raises SpecError."""
    cwd = cwd or Path.cwd()
    path = cwd / text
    try:
        if path.is_dir():
            return [_place_of_directory(path, text)]
        if path.exists():
            return [_place_of_file(path, text)]
    except (OSError, ValueError) as error:
        raise SpecError(Code.CANNOT_READ, f"cannot look at {text[:200]!r}: {str(error).lower()}") from error
    return _cells(text, find_root(cwd) / BUILD_DIRECTORY)


def one_place(text: str, cwd: Path | None = None) -> Place:
    """What an argument means; it must refer to exactly one thing. Raises SpecError."""
    found = find_places(text, cwd)
    if len(found) > 1:
        raise SpecError(
            Code.AMBIGUOUS_NAME,
            f"{text!r} matches several cells",
            f"name one of {listed([one.name for one in found])}",
        )
    return found[0]


def _place_of_directory(folder: Path, text: str) -> Place:
    engine, model = folder / ENGINE, folder / MODEL
    if not engine.is_file() and not model.is_file():
        remedy = f"an engine's directory holds {ENGINE}, {MODEL} and {MANIFEST}"
        raise SpecError(Code.NO_ENGINE, f"there is neither {ENGINE} nor {MODEL} in {text!r}", remedy)
    manifest = read_manifest(folder / MANIFEST)
    cell = _cell_of(manifest)
    return Place(
        cell or text,
        folder,
        engine if engine.is_file() else None,
        model if model.is_file() else _packaged_model(folder, cell),
        manifest,
    )


def _packaged_model(folder: Path, cell: str) -> Path | None:
    """The typed model that a package has for the engine in one of its directories."""
    from trtpipe.app.engines.packaged import packaged_cell

    found = packaged_cell(folder.absolute(), cell) if cell else None
    return found.typed_model if found is not None else None


def _place_of_file(path: Path, text: str) -> Place:
    kind = kind_of_file(path)
    if kind == "pipeline":
        raise SpecError(Code.WRONG_FILE, f"{text!r} is a spec", "name a cell: PIPELINE/VARIANT@TARGET")
    folder = path.parent
    if kind == "engine" or path.name == ENGINE:
        manifest, model = read_manifest(folder / MANIFEST), folder / MODEL
        name = _cell_of(manifest) if path.name == ENGINE else ""
        beside = None
        if path.name == ENGINE:
            beside = model if model.is_file() else _packaged_model(folder, name)
        return Place(name or text, folder, path, beside, manifest if path.name == ENGINE else None)
    manifest = read_manifest(folder / MANIFEST) if path.name == MODEL else None
    return Place(text, folder, None, path, manifest, only_model=True)


def _cell_of(manifest: Mapping[str, Any] | None) -> str:
    name = (manifest or {}).get("cell")
    return name if isinstance(name, str) else ""


def _cells(text: str, build: Path) -> list[Place]:
    """Delivered cells that a name, a glob, or PIPELINE/VARIANT means."""
    found = {
        path.parent.relative_to(build).as_posix(): path.parent
        for path in sorted(build.glob(f"*/*/{MANIFEST}"))
    }
    glob = text if "@" in text or "*" in text else f"{text}@*"
    matching = [name for name in found if fnmatchcase(name, glob)]
    if not matching:
        near = nearest(text, found)
        said = f"did you mean {near!r}? " if near else ""
        cells = f"built cells: {listed(list(found))}" if found else "nothing is built yet"
        raise SpecError(
            Code.WRONG_FILE,
            f"{text!r} is not a built cell, directory, engine or model",
            f"{said}{cells}; see `trtpipe build`",
        )
    places = []
    for name in matching:
        place = _place_of_directory(found[name], name)
        if place.engine is None:
            raise ModelError(Code.NO_ENGINE, f"{name} has lost its {ENGINE}", "build it again")
        places.append(place)
    return places
