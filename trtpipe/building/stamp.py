"""The stamp of a build with nothing left to do: the signatures of all files that it looked at.

If the same command finds all of these files unchanged, and the reports complete, the result is the same: there is
nothing to do. A build with nothing to do is then as fast as reading one file and calling stat on the others. A stamp is
written only when a full plan has found nothing to do, or a build has done it all, and covers everything that this plan
read: specs (and the folders where a new one could appear), data sets, sources, delivered files, the lockfile, the
packages whose versions are part of keys. No stamp is written if the plan depends on something that is not a file: a
target `this`, or an interpreter that had to be run; nor if a file was changed after the plan began to read.

Stamps are sealed files in `.trtpipe/stamps`, one for each command of the last few; options that change no result, such
as `--json` and `--jobs`, do not make another command. A stamp holds names, and a digest of all signatures.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from trtpipe import __version__
from trtpipe.digests import digest_bytes
from trtpipe.files import sweep_files, write_whole
from trtpipe.homes import user_file
from trtpipe.stores.sealed_files import CONTENT_AT, read_sealed, sealed
from trtpipe.stores.state import STATE_FILE, Signature, changed_at, signature_of
from trtpipe.workspace.reports_mark import is_marked

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned

_SCHEMA = "3"
"""Increase it when a build would write something else from the same files, such as another lockfile."""
_FOLDER = "stamps"
_MOST_STAMPS = 16
_MOST_BYTES = 1 << 28

Known: TypeAlias = dict[str, dict[str, Signature | None]]
"""Folder → name → signature."""
Groups: TypeAlias = Sequence[tuple[Sequence[str], Sequence[str]]]
"""Names of files, and the folders that have files of all these names. Nearly all cells have the same names."""
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
    root = _root_of(Path.cwd())
    text = read_sealed(_stamp(root, arguments, only), _MOST_BYTES) if root is not None else b""
    if root is None or not text or is_marked(root):
        return False
    try:
        told = json.loads(text[CONTENT_AT:])
        return bool(
            told["environment"] == _environment()
            and all(_signatures_now(root, groups) == seen for groups, seen in told["seen"])
        )
    except (ValueError, KeyError, TypeError):  # written by this user, with another trtpipe
        return False


def never_built() -> bool:
    """Whether no build has left a state here."""
    return _root_of(Path.cwd()) is None


def take(planned: Planned, arguments: Sequence[str], only: Sequence[str]) -> None:
    """Record that this command has nothing to do; left out in a project that is not writable."""
    workspace = planned.workspace
    if workspace.root != _root_of(Path.cwd()) or not _only_files_matter(planned):
        return
    files = _files_of_plan(planned)
    if files is None:
        return
    # the delivered files come last: they are many, and a changed spec is told without them
    both = [(known, _grouped(known)) for known in (files, _delivered_files(planned))]
    entry = {
        "environment": _environment(),
        "seen": [(groups, _signatures_in(known, groups)) for known, groups in both],
    }
    _write(_stamp(workspace.root, arguments, only), sealed(json.dumps(entry, separators=(",", ":")).encode()))


def _files_of_plan(planned: Planned) -> Known | None:
    """Everything that the plan read; None if some of it was changed since the plan was begun."""
    known: Known = {}
    for path in _looked_at(planned):
        signature = signature_of(str(path))
        if (
            signature is not None
            and changed_at(signature) >= planned.workspace.opened
            and path != planned.workspace.lockfile
        ):
            return None
        known.setdefault(str(path.parent), {})[path.name] = signature
    return known


def _delivered_files(planned: Planned) -> Known:
    """The files of the cells, with the signatures with which they were delivered; folders are relative to the root."""
    return dict(planned.workspace.state.delivered_files(cell.name) for cell in planned.plan.cells)


def _signatures_in(known: Known, groups: Groups) -> str:
    signatures = [
        known[folder][name] or "" for names, folders in groups for folder in folders for name in names
    ]
    return _digest(signatures)


def _grouped(known: Known) -> Groups:
    groups: dict[tuple[str, ...], list[str]] = {}
    for folder, files in known.items():
        groups.setdefault(tuple(files), []).append(folder)
    return list(groups.items())


def _signatures_now(root: Path, groups: Groups) -> str:
    """The digest of the files' signatures. Plain loops: this is most of what a build with nothing to do takes."""
    signatures: list[str] = []
    for names, folders in groups:
        for folder in folders:
            place = os.path.join(root, folder)  # noqa: PTH118 - a Path for each costs more than the stat
            signatures += [signature_of(f"{place}/{name}") or "" for name in names]
    return _digest(signatures)


def _digest(signatures: Sequence[str]) -> str:
    return digest_bytes("\n".join(signatures).encode()).hex


def _write(path: Path, text: bytes) -> None:
    """Write a stamp, and remove the oldest ones beyond the number that is kept."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_files(path.parent)
        write_whole(path, text, durable=False)
        kept = sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime_ns, reverse=True)
        for old in kept[_MOST_STAMPS:]:
            old.unlink()


def _stamp(root: Path, arguments: Sequence[str], only: Sequence[str]) -> Path:
    name = digest_bytes(_name(arguments, only).encode(errors="surrogateescape")).hex[:32]
    return (root / STATE_FILE).with_name(_FOLDER) / name


def _name(arguments: Sequence[str], only: Sequence[str]) -> str:
    return repr((str(Path.cwd()), list(arguments), list(only)))


def _environment() -> list[str]:
    named = [os.environ.get(name, "") for name in ("TRTPIPE_STORE", "TRTPIPE_TOOLCHAINS")]
    return [_SCHEMA, __version__, sys.executable, sys.version, *named]


def _root_of(start: Path) -> Path | None:
    return next((one for one in (start, *start.parents) if (one / STATE_FILE).is_file()), None)


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
