"""Finds the engines that a command means (directories or cells of the project) and reads their manifests.

A directory may be anywhere and needs neither store nor spec nor source.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import digest_file
from trtpipe.errors import ModelError, SpecError
from trtpipe.json_values import JsonObject, object_in, objects_in, text_in, texts_in
from trtpipe.plan.task import GOLDEN, MODEL
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import ENGINE, MANIFEST, read_manifest
from trtpipe.spec.pipeline import Profile
from trtpipe.workspace.workspace import Workspace, cell_names, open_workspace

_DEEPEST = 4


@dataclass(frozen=True)
class EnginePlace:
    """An engine's directory."""

    name: str
    """The cell's, or the directory as it was written."""
    folder: Path
    workspace: Workspace | None = None
    """The project, when it was named as a cell of it."""


@dataclass(frozen=True)
class EngineFacts:
    """The parts of a manifest that validation needs."""

    manifest: JsonObject
    capabilities: tuple[str, ...]
    compatibility: str
    profiles: tuple[Profile, ...]
    corners: bool
    validation: JsonObject
    files: Mapping[str, str]
    """What was made with the engine: the typed model's files and the recorded samples, each with its BLAKE3 in hex."""
    graft: JsonObject | None = None
    """Layers in front of the typed model which the recorded samples do not know; of a bundle's member."""


def engine_places(arguments: Sequence[str], cwd: Path) -> list[EnginePlace]:
    """Directories and files that hold engines, then cells; all cells of the project when nothing is named.

    Raises SpecError.
    """
    found: list[EnginePlace] = []
    cells = []
    for text in arguments:
        folders = list(_folders(cwd / text))
        found += [EnginePlace(os.path.relpath(folder, cwd), folder) for folder in folders]
        if not folders:
            _refuse_no_engine(text, cwd)
            cells.append(text)
    if cells or not found:
        workspace = open_workspace(cells, cwd=cwd)
        names = [name for name in cell_names(workspace) if workspace.wants(name)]
        found += [EnginePlace(name, workspace.build / name, workspace) for name in names]
    return list({one.folder.absolute(): one for one in found}.values())


def _refuse_no_engine(text: str, cwd: Path) -> None:
    """Raises for an engine's directory without its engine, which would otherwise be taken for a spec."""
    place = cwd / text
    if (place / MANIFEST).is_file() or (place.is_file() and place.suffix not in (".yaml", ".yml")):
        raise SpecError(
            Code.NO_ENGINE,
            f"{text} holds no {ENGINE}",
            "name a cell, or an engine directory that a build wrote",
        )


def _folders(place: Path) -> Iterator[Path]:
    """The directories at or below a place that hold an engine, in order."""
    if place.name == ENGINE and place.is_file():
        yield place.parent
        return
    if not place.is_dir():
        return
    for root, folders, files in os.walk(place):
        folders.sort()
        if len(Path(root).relative_to(place).parts) >= _DEEPEST:
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
        if ENGINE in files:
            yield Path(root)


def read_facts(place: EnginePlace) -> EngineFacts:
    """What the manifest says. Raises ModelError when it is missing or damaged, or was left by an older trtpipe."""
    manifest = read_manifest(place.folder / MANIFEST)
    if manifest is None:
        if place.workspace is not None:
            raise ModelError(Code.NO_ENGINE, "it is not built", "run `trtpipe build`")
        raise ModelError(
            Code.NO_ENGINE, f"{place.folder} has no {MANIFEST}", "copy the whole directory of a cell"
        )
    try:
        return _facts_in(manifest, place)
    except ValueError as error:  # Malformed, or pydantic's ValidationError
        fact = f"{place.folder / MANIFEST} is a damaged manifest"
        raise ModelError(Code.MANIFEST_DAMAGED, fact, "build the cell again, or copy it again") from error


def _facts_in(manifest: JsonObject, place: EnginePlace) -> EngineFacts:
    """Raises ValueError, or ModelError for a manifest of an older trtpipe."""
    from trtpipe.spec.pipeline import ValidateSpec
    from trtpipe.targets.compute_capability import ComputeCapability
    from trtpipe.toolchains.engine_worker.request import compatibility_of

    text_in(manifest, "cell")
    steps, validation, model = (object_in(manifest, name) for name in ("steps", "validation", "model"))
    built = object_in(object_in(object_in(steps, "build_engine"), "fingerprint"), "options")
    validated = _below(steps, "validate", "fingerprint", "options")
    files = {name: text_in(object_in(model, name), "blake3") for name in model}
    recorded = _below(validation, "recorded")
    if recorded.get("blake3"):
        files[GOLDEN] = text_in(recorded, "blake3")
    _below(validation, "budget")
    if "thresholds" not in validation and text_in(validation, "outcome") != "not_run":
        raise ModelError(
            Code.OLD_RECORD,
            f"{place.name} was built by an older trtpipe, without thresholds",
            "build it again",
        )
    return EngineFacts(
        manifest,
        tuple(ComputeCapability.parse(one).sm for one in texts_in(manifest, "compute_capabilities")),
        compatibility_of(built).hardware,
        tuple(_profile(one) for one in objects_in(manifest, "profiles")),
        bool(validated.get("corners", ValidateSpec().corners)),
        validation,
        files,
        _below(steps, "quantize", "fingerprint", "options", "graft") or None,
    )


def _below(record: JsonObject, *names: str) -> JsonObject:
    """The object at this path of keys; empty when one is missing. Raises Malformed."""
    for name in names:
        record = object_in(record, name) if name in record else {}
    return record


def _profile(record: JsonObject) -> Profile:
    from trtpipe.spec.pipeline import ProfileInput

    return {name: ProfileInput.model_validate_json(json.dumps(entry)) for name, entry in record.items()}


def require_whole(place: EnginePlace, facts: EngineFacts) -> None:
    """Checks that the typed model and the recorded samples were built with the engine. Raises ModelError."""
    for name, digest in {MODEL: "", **facts.files}.items():
        path = place.folder / Path(name).name
        try:
            found = digest_file(path).hex
        except OSError as error:
            raise ModelError(
                Code.CANNOT_READ,
                f"{path}: {(error.strerror or str(error)).lower()}",
                "build the cell again, or copy all of it",
            ) from error
        if found != digest:
            fact = f"{path} is not the one that was built with the engine"
            raise ModelError(Code.ENGINE_DAMAGED, fact, "build the cell again, or copy it again")
