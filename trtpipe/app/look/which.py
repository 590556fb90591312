"""`which`: finds the cell, spec, commit and report of an engine by its digest. Reads no spec and no model.

Looks beside the file, in the build directory, the lockfile, the store's traces and the lockfile's history, and says
where each fact was found. Only digests are compared, because file names can be wrong.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trtpipe.delivery.origin_files import PROVENANCE
from trtpipe.digests import Digest, digest_file
from trtpipe.errors import ModelError, SpecError, TrtpipeError
from trtpipe.files import read_regular
from trtpipe.git.lock_history import Commit, History, commits_with
from trtpipe.json_values import Json
from trtpipe.loader.project import LOCK_FILE, PIPELINES, find_root, load_project
from trtpipe.lockfile import load_lock, read_lock
from trtpipe.plan.address import Place as CellPlace
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import BUILD_DIRECTORY, Workspace

_HEX = re.compile(r"[0-9a-fA-F]{8,64}")
_LARGEST = 64 << 20
"""Limit for JSON files in bytes; larger ones are not trtpipe's."""
_REPORTS = ("report.html", "summary.md")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fact was found: `manifest`, `build`, `lockfile`, `store`, `git`; the cell named there, and the facts."""

    where: str
    at: str
    cell: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """This place as plain JSON values."""
        return {"where": self.where, "at": self.at, "cell": self.cell, **self.facts}


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known about an engine."""

    asked: str
    blake3: str
    nbytes: int | None
    places: tuple[Place, ...]
    specs: Mapping[str, str]
    """Pipeline → the spec that declares it today."""
    commits: tuple[Commit, ...]
    notes: tuple[str, ...]
    bundles: tuple[str, ...] = ()
    """The bundles that ship this engine, each with its target and member: `ocr (ada det)`."""
    header: Mapping[str, Any] | None = None
    """What the file says of itself; None where there is no file or its header is not known."""

    @property
    def known(self) -> bool:
        """Whether anything knows this engine."""
        return bool(self.places or self.commits)

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell that has, or had, this engine."""
        named = [one.cell for one in self.places] + [
            cell for one in self.commits for cell in (*one.cells, *one.before)
        ]
        return tuple(dict.fromkeys(filter(None, named)))

    def to_json(self) -> dict[str, Any]:
        """This identity as plain JSON values."""
        return {
            "asked": self.asked,
            "blake3": self.blake3,
            "bytes": self.nbytes,
            "known": self.known,
            "cells": list(self.cells),
            "specs": dict(self.specs),
            "bundles": list(self.bundles),
            "found": [one.to_json() for one in self.places],
            "commits": [one.to_json() for one in self.commits],
            "notes": list(self.notes),
            "header": None if self.header is None else dict(self.header),
        }


def identify(asked: str, cwd: Path | None = None) -> Identity:
    """What is known about a file, or about a digest in hex (BLAKE3, at least 8 digits; SHA-256 in full).

    Raises SpecError for anything else, ModelError for a file that cannot be read.
    """
    cwd = cwd or Path.cwd()
    file = cwd / asked
    if file.is_file():
        digest = _digest_of(file)
        inside = find_root(file)
        root = inside if (inside / LOCK_FILE).exists() else find_root(cwd)
        return _Search(asked, root, digest.hex, digest.size, file).run()
    if _HEX.fullmatch(asked):
        root = find_root(cwd)
        return _Search(asked, root, _whole(asked.lower(), root), None, None).run()
    if file.is_dir():
        raise SpecError(Code.NOT_A_FILE, f"{asked!r} is a directory", "name an engine file in it")
    raise SpecError(
        Code.NO_SUCH_FILE,
        f"no such file: {asked!r}",
        "name an engine file, or a digest of at least 8 hex digits",
    )


def _digest_of(file: Path) -> Digest:
    try:
        return digest_file(file)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ModelError(Code.CANNOT_READ, f"cannot read '{file}': {why.lower()}") from error


def _whole(digits: str, root: Path) -> str:
    """The complete BLAKE3 for these digits or this SHA-256; the digits themselves if it is unknown."""
    known: set[str] = set()
    for path in _delivered(root, PROVENANCE):
        subjects = _json_of(path).get("subject")
        for subject in subjects if isinstance(subjects, list) else ():
            digests = _inside(subject, "digest")
            blake3 = str(digests.get("blake3", ""))
            if blake3 and (digits == digests.get("sha256") or blake3.startswith(digits)):
                known.add(blake3)
    known |= {one for one in _locked_engines(root).values() if one.startswith(digits)}
    if len(known) > 1:
        listed = ", ".join(sorted(one[:16] for one in known))
        raise SpecError(
            Code.AMBIGUOUS_NAME, f"{digits!r} matches several digests", f"write more digits: {listed}"
        )
    return known.pop() if known else digits


@dataclass(frozen=True)
class _Search:
    """One search; `blake3` may be the beginning of a digest if nothing here has the complete one."""

    asked: str
    root: Path
    blake3: str
    nbytes: int | None
    file: Path | None

    def run(self) -> Identity:
        notes: list[str] = []
        places = [*self._beside(notes), *self._built(), *self._locked(notes), *self._stored()]
        history = self._history()
        header = self._header(notes)
        if not places and not history.commits:
            places += self._alike(notes)
        notes += [history.note] if history.note else []
        found = Identity(
            self.asked,
            self.blake3,
            self.nbytes,
            tuple(places),
            {},
            history.commits,
            tuple(notes),
            header=header,
        )
        specs = _specs_of({CellPlace.parse(cell).pipeline for cell in found.cells}, self.root)
        return replace(found, specs=specs, bundles=tuple(self._bundles()))

    def _beside(self, notes: list[str]) -> Iterator[Place]:
        if self.file is None:
            return
        path = self.file.parent / "manifest.json"
        record = _json_of(path)
        if _engine_in(record) == self.blake3:
            yield self._manifest("manifest", path, record)
        elif record:
            notes.append("the manifest next to it describes another engine")

    def _built(self) -> Iterator[Place]:
        beside = self.file.parent.resolve() if self.file is not None else None
        for path in _delivered(self.root, "manifest.json"):
            if path.parent.resolve() != beside:
                record = _json_of(path)
                if self._is(_engine_in(record)):
                    yield self._manifest("build", path, record)

    def _manifest(self, where: str, path: Path, record: Mapping[str, Any]) -> Place:
        reports = [self._shown(path.parent / name) for name in _REPORTS if (path.parent / name).is_file()]
        step = _inside(record, "steps", "build_engine")
        facts = {
            "key": step.get("key"),
            "toolchain": record.get("toolchain"),
            "precision": record.get("precision"),
            "compute_capabilities": record.get("compute_capabilities"),
            "report": reports[0] if reports else None,
        }
        return Place(where, self._shown(path), str(record.get("cell", "")), facts)

    def _locked(self, notes: list[str]) -> Iterator[Place]:
        try:
            cells = read_lock(self.root / LOCK_FILE)
        except TrtpipeError as error:
            notes.append(error.problems[0].fact)
            return
        for cell, entry in cells.items():
            if self._is(_engine_of(entry)):
                wanted = ("key", "toolchain", "compute_capabilities", "validated", "run_on_gpu")
                yield Place("lockfile", LOCK_FILE, cell, {name: entry.get(name) for name in wanted})

    def _bundles(self) -> Iterator[str]:
        """The bundles of the lockfile with this engine among their members'."""
        with contextlib.suppress(TrtpipeError):
            for name, entry in load_lock(self.root / LOCK_FILE).bundles.items():
                for place, text in _inside(entry, "members").items():
                    if self._is(str(text).partition(" ")[2].partition(" ")[0]):
                        yield f"{name} ({place})"

    def _stored(self) -> Iterator[Place]:
        """Traces of builds, which name the cell that was built first; others may share the engine."""
        kept = self._store.glob("from/*/traces/*/*.json")  # what other places recorded about it
        for path in sorted([*(self._store / "traces").glob("*/*.json"), *kept]):
            with contextlib.suppress(OSError):
                text = path.read_bytes()
                if self.blake3.encode() not in text:
                    continue
                record = _parsed(text)
                engine = str(_inside(record, "outputs").get("model.engine", ""))
                if self._is(engine.partition("/")[0]):
                    cell = str(CellPlace.of_step(str(record.get("address", ""))))
                    facts = {"key": record.get("key"), "toolchain": _toolchain_of(record)}
                    yield Place("store", f"trace {path.stem[:12]}", cell, facts)

    @cached_property
    def _store(self) -> Path:
        try:
            return Workspace(load_project(self.root), ()).store.root
        except TrtpipeError:  # an unreadable project file must not hide what the other places know
            return Workspace(load_project(Path("/")), ()).store.root

    def _alike(self, notes: list[str]) -> Iterator[Place]:
        """Cells whose engine differs only in names that TensorRT generates."""
        if self.file is None:
            return
        from trtpipe.toolchains.engine_digest import normalised_digest

        with contextlib.suppress(OSError, TrtpipeError):
            digest = normalised_digest(self.file)
            for cell, entry in read_lock(self.root / LOCK_FILE).items():
                if entry.get("normalised") == digest:
                    notes.append(f"the bytes differ from those of {cell} in generated names only")
                    yield Place(
                        "lockfile", f"{LOCK_FILE}, normalised digest", cell, {"key": entry.get("key")}
                    )

    def _history(self) -> History:
        return commits_with(self.root / LOCK_FILE, self.blake3)

    def _header(self, notes: list[str]) -> Mapping[str, Any] | None:
        from trtpipe.toolchains.header import read_engine_header

        if self.file is None:
            return None
        try:
            return read_engine_header(self.file).to_json()
        except ModelError as error:
            notes.append(error.problems[0].fact)
            return None

    def _is(self, engine: str) -> bool:
        return bool(engine) and engine.startswith(self.blake3)

    def _shown(self, path: Path) -> str:
        absolute = path.absolute()
        return absolute.relative_to(self.root).as_posix() if absolute.is_relative_to(self.root) else str(path)


def _delivered(root: Path, name: str) -> Iterable[Path]:
    return sorted((root / BUILD_DIRECTORY).glob(f"*/*/{name}"))


def _locked_engines(root: Path) -> dict[str, str]:
    with contextlib.suppress(TrtpipeError):
        return {cell: _engine_of(entry) for cell, entry in read_lock(root / LOCK_FILE).items()}
    return {}


def _engine_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("engine", "")).partition(" ")[0]


def _engine_in(manifest: Mapping[str, Any]) -> str:
    return str(_inside(manifest, "engine").get("blake3", ""))


def _toolchain_of(trace: Mapping[str, Any]) -> object:
    return _inside(trace, "fingerprint", "tools").get("toolchain")


def _inside(record: object, *names: str) -> dict[str, Json]:
    """The object at this path of keys in an untrusted record; empty when there is none."""
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else {}


def _json_of(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty for anything else."""
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size <= _LARGEST:
            return _parsed(path.read_bytes())
    return {}


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _specs_of(pipelines: set[str], root: Path) -> dict[str, str]:
    """The files that declare these pipelines, by the line that names each; nothing else of them is read."""
    found: dict[str, str] = {}
    for path in sorted(one for end in ("yaml", "yml") for one in (root / PIPELINES).glob(f"*.{end}")):
        with contextlib.suppress(OSError):
            text = read_regular(path, _LARGEST).decode(errors="replace")
            match = re.search(r"^(?:pipeline|bundle)[ ]*:[ ]*['\"]?([\w.-]+)", text, re.M)
            for name in pipelines if match else ():
                if match and (name == match[1] or name.startswith(f"{match[1]}.")):  # a bundle's member
                    found[name] = path.relative_to(root).as_posix()
    return found
