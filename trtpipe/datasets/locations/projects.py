"""Lists a project's files: walks folders and follows links only to files that the project may read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from trtpipe.datasets.locations.patterns import Pattern
from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.loader.project import Project
from trtpipe.problem_codes import Code

MOST_FILES = 1_000_000
"""With more files below one folder, it is probably not the folder that was meant."""


class ProjectFiles:
    """The files of a project, by name or pattern."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def __call__(self, name: str, path: SpecPath = ()) -> Path:
        """The file with this name. Raises SpecError."""
        return self.project.resolve_source(name, path)

    def below(self, pattern: str, suffixes: Iterable[str], path: SpecPath) -> dict[str, Path]:
        """The files that a folder, a glob or a file name selects. Raises SpecError."""
        wanted = Pattern(pattern, tuple(suffixes))
        base = self.project.resolve_source(wanted.base, path, directory=True)
        if base.is_file() and not wanted.rest:
            return {wanted.base: base}
        found: dict[str, Path] = {}
        for relative, entry in _walk(base, wanted, path):
            if not wanted.takes(relative):
                continue
            name = wanted.name_of(relative)
            found[name] = self._file(name, entry, path)
            if len(found) > MOST_FILES:
                raise SpecError(
                    Problem(Code.TOO_MANY_FILES, f"more than {MOST_FILES} files in '{pattern}'", path=path)
                )
        return found

    def folders(self, pattern: str) -> list[Path]:
        """Every folder in which a new file might match the pattern. Raises SpecError."""
        wanted = Pattern(pattern, ("",))
        base = self.project.resolve_source(wanted.base, directory=True)
        if not base.is_dir():
            return []
        visited = [""]
        for _ in _walk(base, wanted, (), visited):
            pass
        return [base / folder for folder in visited]

    def _file(self, name: str, entry: os.DirEntry[str], path: SpecPath) -> Path:
        if not entry.name.isprintable():
            try:
                name.encode()
            except UnicodeEncodeError:
                raise SpecError(
                    Problem(Code.NOT_UTF8, f"the name of {name!r} is not text", "rename it", path=path)
                ) from None
        if entry.is_symlink():
            return self.project.resolve_source(name, path)
        if not entry.is_file(follow_symlinks=False):
            raise SpecError(
                Problem(Code.NOT_A_FILE, f"'{name}' is not a regular file", "take it out", path=path)
            )
        return Path(entry.path)


def _walk(
    base: Path, wanted: Pattern, path: SpecPath, visited: list[str] | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below `base` with its relative path; folders whose names begin with a dot are skipped.

    The other folders are added to `visited`.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(base / folder) as entries:
                listed = list(entries)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            fact = f"cannot list '{wanted.name_of(folder.rstrip('/') or '.')}': {reason}"
            raise SpecError(Problem(Code.CANNOT_READ, fact, path=path)) from error
        for entry in listed:
            relative = f"{folder}{entry.name}"
            if not entry.is_dir():
                yield relative, entry
            elif not entry.name.startswith("."):
                if entry.is_symlink():
                    fact = f"'{wanted.name_of(relative)}' is a link to a folder; such links are not followed"
                    raise SpecError(Problem(Code.LINKED_FOLDER, fact, "name that folder itself", path=path))
                waiting.append(f"{relative}/")
                if visited is not None:
                    visited.append(relative)
