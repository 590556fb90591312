"""What a store's collector must keep: what the lockfiles name, and what the last builds of its projects used."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from trtpipe.digests import Digest
from trtpipe.errors import SpecError, TrtpipeError
from trtpipe.git.command import ask_git
from trtpipe.loader.project import LOCK_FILE, Project, find_project, find_root
from trtpipe.lockfile import load_lock
from trtpipe.plan.address import Address, Place
from trtpipe.problem_codes import Code
from trtpipe.stores.collector import Roots
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import STATE_FILE, ProjectState, steps_in
from trtpipe.stores.survey import find_artifacts
from trtpipe.workspace.stores import open_store

_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_LEAST_DIGITS = 4
_GIT_SECONDS = 10.0


@dataclass(frozen=True)
class Cache:
    """A project's store, without its pipelines."""

    project: Project
    store: LocalStore

    def projects(self, more: Iterable[Path] = ()) -> list[Path]:
        """The roots of the projects whose results are kept: this one, those given, those registered in the store."""
        known = [path for path in self.store.projects() if path.is_dir()]
        return list(dict.fromkeys([*self._named(more), *known]))

    def roots(self, more: Iterable[Path] = ()) -> Roots:
        """What these projects need. Raises TrtpipeError when the lockfile of this one, or of one given, is damaged.

        A damaged lockfile of another project is a warning of the store's: whoever works here cannot mend it.
        """
        named = self._named(more)
        others = [root for root in self.projects() if root not in named]
        own = roots_of(named)
        found = {text for root in others for text in self._needs_of_other(root)}
        return Roots(own.keys | found, own.artifacts | found)

    def _named(self, more: Iterable[Path]) -> list[Path]:
        return [self.project.root, *(self._given(path) for path in more)]

    def _needs_of_other(self, root: Path) -> set[str]:
        try:
            return _needs_of(root)
        except TrtpipeError as error:
            self.store.warnings.append(
                f"the lockfile of the project {root} is damaged, so that what it needs is not all known: "
                f"what its text, its last commit and its last builds name is kept ({error.problems[0].fact})"
            )
            return {*_legible_digests(root), *_digests_in(steps_in(root / STATE_FILE))}

    def _given(self, path: Path) -> Path:
        if not path.is_dir():
            raise SpecError(
                Code.NO_SUCH_FILE, f"no such directory: {str(path)!r}", "give the roots of projects"
            )
        return find_root(path)


def open_cache(cwd: Path | None = None) -> Cache:
    """The store of the project around the working directory. Raises SpecError."""
    project = find_project(cwd or Path.cwd())
    return Cache(project, open_store(project))


def roots_of(projects: Iterable[Path]) -> Roots:
    """What these projects need. Raises TrtpipeError when a lockfile is damaged, because its needs are unknown then.

    For a lockfile with a merge conflict, everything that either side names.
    """
    named = frozenset(text for root in projects for text in _needs_of(root))
    return Roots(named, named)


def _needs_of(root: Path) -> set[str]:
    return {*_digests_of(root / LOCK_FILE), *_digests_in(steps_in(root / STATE_FILE))}


def _legible_digests(root: Path) -> Iterator[str]:
    """What a damaged lockfile still names, and what it named when it was last committed."""
    if (root / LOCK_FILE).is_file():
        with suppress(OSError):
            yield from _DIGEST.findall((root / LOCK_FILE).read_bytes().decode(errors="replace"))
    with suppress(OSError, subprocess.SubprocessError):
        committed = ask_git(root, "show", f"HEAD:./{LOCK_FILE}", seconds=_GIT_SECONDS)
        yield from _DIGEST.findall(committed.stdout.decode(errors="replace"))


def _digests_of(lockfile: Path) -> list[str]:
    load_lock(lockfile)
    try:
        return _DIGEST.findall(lockfile.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []


def _digests_in(value: object) -> Iterator[str]:
    """Every digest and key that occurs anywhere in a lockfile, whatever it refers to."""
    if isinstance(value, str):
        yield from _DIGEST.findall(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _digests_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _digests_in(inner)


def artifact_called(cache: Cache, what: str, name: str) -> Digest:
    """The artifact of a digest, whole or its first digits, or the one of that `name` that belongs to a cell.

    Raises SpecError when there is none, or more than one.
    """
    if re.fullmatch(rf"[0-9a-f]{{{_LEAST_DIGITS},64}}", what):
        found = find_artifacts(cache.store, what)
        if len(found) > 1:
            shown = ", ".join(digest.short for digest in found[:8])
            raise SpecError(
                Code.AMBIGUOUS_NAME,
                f"{len(found)} artifacts begin with {what!r}: {shown}",
                "give more digits",
            )
        if not found:
            raise SpecError(
                Code.NO_ARTIFACT,
                f"the store has no artifact that begins with {what!r}",
                "see `trtpipe cache ls`",
            )
        return found[0]
    outputs = _outputs_of(cache, what)
    if name not in outputs:
        listed = ", ".join(sorted(outputs))
        raise SpecError(Code.NO_ARTIFACT, f"{what} has no artifact {name!r}", f"its artifacts are {listed}")
    return outputs[name]


def _outputs_of(cache: Cache, cell: str) -> dict[str, Digest]:
    """The outputs of a cell's last build by name; the engine's step comes last, so that its names win."""
    steps = ProjectState.load(cache.project.root / STATE_FILE).steps
    known = list(_addresses(steps))
    cells = sorted(str(one.place) for one in known if one.stage == "build_engine")
    place = Place.parse(cell)
    if cell not in cells:
        listed = f"the cells that were built here are {', '.join(cells)}" if cells else "build it first"
        raise SpecError(
            Code.NO_ARTIFACT, f"no digest and no cell that was built here: {what_is(cell)}", listed
        )
    found: dict[str, Digest] = {}
    for address in known:
        if address.place in (place, replace(place, target="")):
            entry = steps[str(address)]
            found |= {name: Digest.parse(text) for name, text in entry["outputs"].items()}
    return found


def _addresses(steps: Iterable[str]) -> Iterator[Address]:
    """The addresses whose stage this version knows; another version may have recorded other stages."""
    for text in steps:
        with suppress(ValueError):
            yield Address.parse(text)


def what_is(text: str) -> str:
    """The text, quoted and cut to a line."""
    return repr(text if len(text) <= 80 else text[:80] + "…")
