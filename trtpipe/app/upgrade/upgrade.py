"""`upgrade`: builds the same cells with another TensorRT version, beside the old ones, and compares both.

Everything that it writes is in a directory of its own, build and lockfile included; only the store is shared. The old
side is the content of `build/`, as far as it matches the current spec.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trtpipe.building.build import HowToBuild, run_build
from trtpipe.building.outcome import Outcome
from trtpipe.building.planned import Planned, make_plan
from trtpipe.checks.check import prove_before_building
from trtpipe.errors import Problem, SpecError, ToolchainError, TrtpipeError
from trtpipe.files import read_regular, write_whole
from trtpipe.json_values import as_object, object_in, text_in
from trtpipe.loader.project import LOCK_FILE
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.metrics.upgrades import Row, facts_of, in_order
from trtpipe.plan.address import Place
from trtpipe.plan.decisions import Restore, UpToDate
from trtpipe.plan.graph import Cell
from trtpipe.plan.ports import Observer
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.stores.state import ProjectState
from trtpipe.targets.toolchain import FLAVOURS, Toolchain
from trtpipe.text.upgrades import upgrade_html, upgrade_markdown
from trtpipe.toolchains.wheel_lock import LOCK_FILE as WHEEL_LOCK
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import BUILD_DIRECTORY, STATE_DIRECTORY, Workspace, cells_for

_LARGEST = 64 << 20
DIRECTORY = "upgrade"
REPORTS = ("upgrade.md", "upgrade.json", "upgrade.html")
SCHEMA = 1
_IGNORED = b"# Made by trtpipe upgrade; the reports may be kept.\n/build/\n/.trtpipe/\n"
_VERSION = re.compile(r"(?:(?P<flavour>tensorrt_rtx|tensorrt)-)?(?P<version>\d+(?:\.\d+)+)")


@dataclass(frozen=True)
class BesideWorkspace(Workspace):
    """A workspace with build directory, lockfile and state in a directory of its own."""

    output: Path = Path()

    @property
    def lockfile(self) -> Path:
        """The lockfile as it will be after the upgrade."""
        return self.output / LOCK_FILE

    @property
    def wheel_lock(self) -> Path:
        """The wheel lock, to which the wheels of the new toolchain are added."""
        return self.output / WHEEL_LOCK

    @property
    def build(self) -> Path:
        """Where cells of the new version are delivered."""
        return self.output / BUILD_DIRECTORY

    @cached_property
    def state(self) -> ProjectState:
        """The state of earlier runs of the same upgrade."""
        return self._state_in(self.output)


@dataclass(slots=True)
class Upgrade:
    """A requested upgrade: its cells, and the result of each."""

    old: Workspace
    name: str
    spec: ToolchainSpec
    output: Path
    toolchain: Toolchain
    cells: tuple[str, ...]
    already: tuple[str, ...]
    """Cells that have that very TensorRT today."""
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Cell → why there is no engine of the new version."""
    bundles: dict[str, list[str]] = field(default_factory=dict)
    """Bundle → why it is not complete on the new version; nothing if it is."""

    def new(self, cells: tuple[str, ...] | None = None) -> BesideWorkspace:
        """The workspace in which every target of the flavour has the new toolchain, for these cells or all."""
        loaded = tuple(_moved(one, self.name, self.spec) for one in self.old.pipelines)
        by_name = {one.spec.pipeline: one for one in loaded}
        bundles = tuple(
            replace(one, pipelines={name: by_name[name] for name in one.pipelines})
            for one in self.old.bundles
        )
        return BesideWorkspace(
            self.old.project, loaded, cells or self.cells, bundles=bundles, output=self.output
        )


def open_upgrade(old: Workspace, name: str, output: Path | None = None) -> Upgrade:
    """Resolves `name`, a toolchain of the specs or a version, and finds the cells concerned.

    Raises SpecError and ToolchainError.
    """
    from trtpipe.toolchains.resolve import locate_toolchain

    spec = _toolchain_called(old, name)
    found = locate_toolchain(None, spec)
    if isinstance(found, Problem):
        raise ToolchainError(Problem(found.code, found.fact, found.remedy))
    concerned: list[str] = []
    already: list[str] = []
    resolver = TargetResolver()
    for pipeline in old.pipelines:
        for target in pipeline.spec.targets:
            current = resolver.toolchain_of(pipeline.spec, target)
            flavour = current.flavour if isinstance(current, Toolchain) else None
            if flavour not in (None, spec.flavour):
                continue
            version = current.version if isinstance(current, Toolchain) else None
            wanted = [one for one in cells_for(old, pipeline, target) if old.wants(one)]
            (already if version == found.version else concerned).extend(wanted)
    if not concerned and not already:
        raise SpecError(
            Code.UNKNOWN_NAME,
            f"no target builds with {spec.flavour}",
            "name a toolchain of the targets' flavour",
        )
    place = (output or old.root / DIRECTORY / name).absolute()
    _refuse_taken(place, old)
    return Upgrade(old, name, spec, place, found, tuple(concerned), tuple(already))


def _refuse_taken(output: Path, old: Workspace) -> None:
    """Raises unless the output directory is new, empty, or an earlier upgrade's, so that nothing is overwritten."""
    resolved, root = output.resolve(), old.root.resolve()
    kept = [root / name for name in (BUILD_DIRECTORY, STATE_DIRECTORY)]
    inside = any(resolved.is_relative_to(one) for one in kept) or root.is_relative_to(resolved)
    try:
        there = {one.name for one in output.iterdir()}
    except FileNotFoundError:
        there = set()
    except OSError as error:
        raise _unwritable(output, error) from error
    if inside or (there and not _is_ours(output)):
        raise SpecError(
            Code.EXISTS_ALREADY,
            f"the directory '{output}' contains other files",
            "give a new one with --output",
        )


def _is_ours(output: Path) -> bool:
    with contextlib.suppress(OSError):
        return read_regular(output / ".gitignore", _LARGEST) == _IGNORED
    return False


def _toolchain_called(old: Workspace, name: str) -> ToolchainSpec:
    known = {one: spec for loaded in old.pipelines for one, spec in loaded.spec.toolchains.items()}
    if old.project.spec is not None:
        known = {**old.project.spec.toolchains, **known}
    if name in known:
        return known[name]
    match = _VERSION.fullmatch(name)
    if match is None:
        listed = ", ".join(sorted(known)) or "none"
        raise SpecError(
            Code.UNKNOWN_NAME,
            f"no toolchain {name!r}",
            f"the specs' toolchains are: {listed}; or write a version, such as {FLAVOURS[0]}-1.7.1.116",
        )
    return ToolchainSpec.model_validate(
        {"flavour": match["flavour"] or FLAVOURS[0], "version": match["version"]}
    )


def _moved(loaded: LoadedPipeline, name: str, spec: ToolchainSpec) -> LoadedPipeline:
    """The pipeline with the new toolchain for every target of its flavour."""
    flavours = {one: toolchain.flavour for one, toolchain in loaded.spec.toolchains.items()}
    targets = {
        target: one.model_copy(update={"toolchain": name})
        if flavours.get(one.toolchain or "", FLAVOURS[0]) == spec.flavour
        else one
        for target, one in loaded.spec.targets.items()
    }
    toolchains = {**loaded.spec.toolchains, name: spec}
    return replace(loaded, spec=loaded.spec.model_copy(update={"targets": targets, "toolchains": toolchains}))


def run_upgrade(upgrade: Upgrade, observer: Observer, *, jobs: int, offline: bool = False) -> None:
    """Build the cells with the new version, each as far as possible. Raises errors that stop all of them.

    What was refused or failed is in `problems` afterwards.
    """
    _prepare(upgrade)
    good = _provable(upgrade, offline)
    if not good:
        return
    planned = make_plan(upgrade.new(good))
    outcome = Outcome()
    run_build(planned, observer, outcome, HowToBuild(jobs, keep_going=True, offline=offline))
    cells = {cell.name: cell for cell in planned.plan.cells}
    upgrade.bundles = {one.name: [] for one in upgrade.new().whole_bundles}
    for name in upgrade.bundles.keys() & set(outcome.blocked):
        upgrade.bundles[name].append("a member was not built")
    for name, error in outcome.failures:
        if name in upgrade.bundles:
            upgrade.bundles[name] += _said(error)
    for name, error in outcome.failures:
        for cell in [
            one for one in cells.values() if name == one.name or name in map(str, one.steps.values())
        ]:
            upgrade.problems.setdefault(cell.name, []).extend(_said(error))


def _prepare(upgrade: Upgrade) -> None:
    """Copy the old lockfiles: search results and wheel hashes stay valid for the new version."""
    try:
        upgrade.output.mkdir(parents=True, exist_ok=True)
        write_whole(upgrade.output / ".gitignore", _IGNORED)
        for old in (upgrade.old.lockfile, upgrade.old.wheel_lock):
            if old.is_file():
                shutil.copyfile(old, upgrade.output / old.name)
    except OSError as error:
        raise _unwritable(upgrade.output, error) from error


def _unwritable(output: Path, error: OSError) -> TrtpipeError:
    fact = f"cannot write to {output}: {(error.strerror or str(error)).lower()}"
    return TrtpipeError(Code.CANNOT_WRITE, fact, "give another directory with --output")


def _provable(upgrade: Upgrade, offline: bool) -> tuple[str, ...]:
    """The cells without an error in `check`; cells are checked one by one only if the check of all finds errors."""
    try:
        prove_before_building(make_plan(upgrade.new()), offline=offline)
    except SpecError:
        return tuple(cell for cell in upgrade.cells if _proves(upgrade, cell, offline))
    return upgrade.cells


def _proves(upgrade: Upgrade, cell: str, offline: bool) -> bool:
    try:
        prove_before_building(make_plan(upgrade.new((cell,))), offline=offline)
    except SpecError as error:
        upgrade.problems[cell] = _said(error)
        return False
    return True


def _said(error: TrtpipeError) -> list[str]:
    """Each problem on a line of its own, beginning with its place in the spec."""
    return [f"{one.where}: {one.fact}" if one.where else one.fact for one in error.problems]


def comparison_of(upgrade: Upgrade) -> dict[str, Any]:
    """The comparison as a JSON object: the lines to change, and each cell on both versions, failures first."""
    notes: list[str] = []
    old = _old_manifests(upgrade, notes)
    rows = []
    for name in upgrade.cells:
        new = None if name in upgrade.problems else _manifest_in(upgrade.output / BUILD_DIRECTORY, name)
        said = upgrade.problems.get(name) or (() if new else ("it was not built: a step before it failed",))
        rows.append(
            Row(
                name,
                facts_of(old[name]) if name in old else None,
                facts_of(new) if new else None,
                tuple(said),
            )
        )
    if upgrade.already:
        notes.append(f"on {upgrade.toolchain} already: {', '.join(upgrade.already)}")
    notes.append(
        "validation compares typed models on the CPU, which is the same for both versions until engines run on a GPU"
    )
    return {
        "schema": SCHEMA,
        "toolchain": str(upgrade.toolchain),
        "name": upgrade.name,
        "changes": list(_changes(upgrade)),
        "cells": [one.to_json() for one in in_order(rows)],
        **({"bundles": _bundles_json(upgrade)} if upgrade.bundles else {}),
        "notes": notes,
    }


def _bundles_json(upgrade: Upgrade) -> list[dict[str, Any]]:
    """Each bundle that was built as a whole on the new version, and how that went."""
    return [
        {"bundle": name, "status": "failed" if said else "complete", "problems": said}
        for name, said in sorted(upgrade.bundles.items())
    ]


def _old_manifests(upgrade: Upgrade, notes: list[str]) -> dict[str, dict[str, Any]]:
    """The manifests of those old cells that match the current spec."""
    try:
        planned = make_plan(replace(upgrade.old, globs=upgrade.cells))
    except TrtpipeError as error:
        notes.append(f"the old version can no longer be planned: {error.problems[0].fact}")
        return {}
    found, missing = {}, []
    for cell in planned.plan.cells:
        manifest = _manifest_in(upgrade.old.build, cell.name)
        if manifest is not None and manifest["steps"]["build_engine"]["key"] == _key(planned, cell):
            found[cell.name] = manifest
        else:
            missing.append(cell.name)
    if missing:
        notes.append(
            f"not built on the old version, so not compared: {', '.join(missing)}; run `trtpipe build` first"
        )
    return found


def _key(planned: Planned, cell: Cell) -> str | None:
    decision = planned.decisions[cell.steps["build_engine"]]
    return decision.key if isinstance(decision, (UpToDate, Restore)) else None


def _manifest_in(build: Path, cell: str) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        text = read_regular(build / cell / "manifest.json", _LARGEST)
        record = dict(as_object(json.loads(text), "the manifest"))
        facts_of(record)  # a manifest of an older trtpipe may lack the compared fields
        key = text_in(object_in(object_in(record, "steps"), "build_engine"), "key")
        return record if record.get("cell") == cell and key else None
    return None


def _changes(upgrade: Upgrade) -> Iterator[str]:
    """The lines of the specs to change for the upgrade, each with its place, each once."""
    seen: set[str] = set()
    concerned = {(place.pipeline, place.target) for place in map(Place.parse, upgrade.cells)}
    for loaded in upgrade.old.pipelines:
        for target, one in loaded.spec.targets.items():
            if (loaded.spec.pipeline, target) in concerned:
                said = _change_of(upgrade, loaded, target, one.toolchain)
                if said not in seen:
                    seen.add(said)
                    yield said


def _change_of(upgrade: Upgrade, loaded: LoadedPipeline, target: str, current: str | None) -> str:
    named = upgrade.name in loaded.spec.toolchains
    if current is None:
        package = "tensorrt-rtx-cu13" if upgrade.spec.flavour == "tensorrt_rtx" else "tensorrt-cu13"
        install = f"pip install {package}=={upgrade.toolchain.version}"
        return f"targets without `toolchain:` use the installed one: {install}"
    if named:
        place = _place(loaded, ("targets", target, "toolchain"))
        return f"{place}: toolchain: {current} becomes toolchain: {upgrade.name}"
    place = _place(loaded, ("toolchains", current, "version"))
    old = loaded.spec.toolchains[current].version or "the installed version"
    return f'{place}: version: "{old}" becomes version: "{upgrade.toolchain.version}"'


def _place(loaded: LoadedPipeline, path: tuple[str, ...]) -> str:
    where = loaded.locate(Problem(Code.INVALID_VALUE, "", path=path)).where
    return f"{where.file}:{where.line}" if where else str(loaded.path.name)


def write_reports(upgrade: Upgrade, record: Mapping[str, Any]) -> list[Path]:
    """Write the comparison in all three forms. Raises TrtpipeError."""
    texts = (
        upgrade_markdown(record),
        json.dumps(record, indent=1, ensure_ascii=False) + "\n",
        upgrade_html(record),
    )
    paths = [upgrade.output / name for name in REPORTS]
    try:
        for path, text in zip(paths, texts, strict=True):
            write_whole(path, text.encode())
    except OSError as error:
        raise _unwritable(upgrade.output, error) from error
    return paths


def got_worse(record: Mapping[str, Any]) -> bool:
    """Whether a cell failed with the new version, or is worse than before."""
    rows = [*record["cells"], *record.get("bundles", ())]
    return any(row["status"] in ("failed", "worse") for row in rows)
