"""The stamp of a build with nothing left to do: the signatures of all files that it looked at.

If the same command finds all of these files unchanged, and the reports complete, the result is the same: there is
nothing to do. A build with nothing to do is then as fast as reading one file and calling stat on the others. A stamp is
written only when a full plan has found nothing to do, and covers everything that this plan read: specs (and the folders
where a new one could appear), data sets, sources, delivered files, the lockfile, the packages whose versions are part
of keys. No stamp is written if the plan depends on something that is not a file: a target `this`, or an interpreter
that had to be run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe import __version__
from trtpipe.building.reports_mark import is_marked
from trtpipe.homes import user_file
from trtpipe.stores.state import STATE_FILE, ProjectState, signature_of

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned

_SCHEMA = "2"
"""Increase it when a build would write something else from the same files, such as another lockfile."""
_PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime")
_CODE = (
    "plan/graph.py",
    "plan/planner/__init__.py",
    "manifest.py",
    "lockfile/entries.py",
    "frontends",
    "precisions",
    "datasets",
    "toolchains",
    "calibrators",
    "searching",
)
"""The code of trtpipe itself that decides keys and manifests, for its developers."""


def is_unchanged(arguments: Sequence[str], only: Sequence[str]) -> bool:
    """Whether the last build of this command left nothing to do and nothing has changed since."""
    state = _state_above(Path.cwd())
    entry = state.stamps.get(_name(arguments, only)) if state is not None else None
    if state is None or entry is None or entry["environment"] != _environment():
        return False
    if is_marked(state.root):
        return False
    if any(signature_of(path) != known for path, known in entry["files"].items()):
        return False
    return all(
        state.delivered(cell, state.cells[cell]["content"]) for cell in entry["cells"] if cell in state.cells
    )


def never_built() -> bool:
    """Whether no build has left a state here."""
    return _root_of(Path.cwd()) is None


def take(planned: Planned, arguments: Sequence[str], only: Sequence[str]) -> None:
    """Record that this command has nothing to do."""
    workspace = planned.workspace
    name = _name(arguments, only)
    if workspace.root != _root_of(Path.cwd()) or not _only_files_matter(planned):
        return
    files = {str(path): signature_of(str(path)) for path in _looked_at(planned)}
    cells = [cell.name for cell in planned.plan.cells]
    entry: dict[str, Any] = {"environment": _environment(), "files": files, "cells": cells}
    workspace.state.remember_stamp(name, entry)


def _name(arguments: Sequence[str], only: Sequence[str]) -> str:
    return repr((str(Path.cwd()), list(arguments), list(only)))


def _environment() -> list[str]:
    named = [os.environ.get(name, "") for name in ("TRTPIPE_STORE", "TRTPIPE_TOOLCHAINS")]
    return [_SCHEMA, __version__, sys.executable, sys.version, *named]


def _root_of(start: Path) -> Path | None:
    return next((one for one in (start, *start.parents) if (one / STATE_FILE).is_file()), None)


def _state_above(start: Path) -> ProjectState | None:
    root = _root_of(start)
    return ProjectState.load(root / STATE_FILE) if root is not None else None


def _only_files_matter(planned: Planned) -> bool:
    for spec in planned.specs.values():
        if any("this" in target.gpu for target in spec.targets.values()):
            return False
        if any(toolchain.python is not None for toolchain in spec.toolchains.values()):
            return False
        flavours = {facts.toolchain["flavour"] for facts in planned.facts[spec.pipeline].targets.values()}
        if "tensorrt" in flavours:  # the keys contain this machine's GPU and driver, which are not files
            return False
    return True


def _looked_at(planned: Planned) -> Iterator[Path]:
    workspace = planned.workspace
    for pipeline in workspace.pipelines:
        yield pipeline.path
        yield from _homes(pipeline.path, workspace.root)
        yield from pipeline.files.values()
    for facts in planned.facts.values():
        for sources in (facts.model.files(), facts.data_sources, facts.golden, facts.plugins):
            yield from (source.path for source in sources)
        for calibration in facts.calibrations.values():
            yield from (source.path for source in calibration.sources)
            yield from _folders(planned, calibration.record)
        yield from _folders(planned, facts.data or {})
        if facts.model.directory:
            yield from {source.path.parent for source in facts.model.files()}
    yield from workspace.project.datasets.values()
    yield workspace.root / "calibration"
    yield workspace.lockfile
    if (own := user_file()) is not None:  # the user configuration says which signers are trusted
        yield own
    yield from _installed(planned)
    code = Path(__file__).resolve().parents[1]
    yield from (code / name for name in _CODE)


def _folders(planned: Planned, record: Mapping[str, Any]) -> Iterator[Path]:
    """The folders in which new samples of a data set could appear."""
    from trtpipe.datasets.locations.projects import ProjectFiles

    files = ProjectFiles(planned.workspace.project)
    spec = record.get("spec", {})
    for patterns in (*spec.get("images", {}).values(), spec.get("files", ()), spec.get("parquet", ())):
        for pattern in patterns:
            yield from files.folders(pattern)


def _homes(path: Path, root: Path) -> Iterator[Path]:
    """The folders up to the root, in which a new spec or a nearer project file could appear."""
    for home in path.absolute().parents:
        yield home / "trtpipe.yaml"
        yield home / "trtpipe.lock"
        if home != root:
            yield home
        if home == root:
            return


def _installed(planned: Planned) -> Iterator[Path]:
    """The metadata folders of the packages in use; their names contain the versions, so an upgrade changes them."""
    from importlib import metadata  # cached, because this takes as long as calling stat on a thousand files

    names = {*_PACKAGES, *_toolchain_packages(planned)}
    for facts in planned.facts.values():
        names |= set(facts.model.tools) | set((facts.data or {}).get("packages", ()))
        names |= {name for one in facts.calibrations.values() for name in one.record.get("packages", ())}
    for name in names:
        try:
            found: Any = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        yield Path(str(found._path)) if hasattr(found, "_path") else Path(str(found.locate_file("")))


def _toolchain_packages(planned: Planned) -> Iterable[str]:
    for facts in planned.facts.values():
        for target in facts.targets.values():
            yield from target.found.libraries
