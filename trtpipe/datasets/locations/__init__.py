"""Where a data set's files are: in a project, or handed to a stage by name. Opens none.

A folder or glob means the same in both: names are matched, and what matches is known before a stage runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from trtpipe.errors import SpecPath

Resolve = Callable[[str], Path]
"""What turns a file's name in the spec into the file."""


@runtime_checkable
class Files(Protocol):
    """What turns names and patterns of the spec into files."""

    def __call__(self, name: str, path: SpecPath = ()) -> Path:
        """The file of a name at `path` of the spec. Raises SpecError."""

    def below(self, pattern: str, suffixes: Iterable[str], path: SpecPath) -> dict[str, Path]:
        """Name → file of everything that a folder, a glob or a file's own name at `path` of the spec means.

        In a folder and of a glob only files with one of the `suffixes` (lower case) count, and none whose name, or
        whose folder's, begins with a dot. Raises SpecError.
        """


class _Single:
    """Files by their names only."""

    def __init__(self, resolve: Resolve) -> None:
        self.resolve = resolve

    def __call__(self, name: str, path: SpecPath = ()) -> Path:
        return self.resolve(name)

    def below(self, pattern: str, suffixes: Iterable[str], path: SpecPath) -> dict[str, Path]:
        """Only a file's own name is known here."""
        return {pattern: self.resolve(pattern)}


class GivenFiles:
    """Files handed over by name: all that there are."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files

    def __call__(self, name: str, path: SpecPath = ()) -> Path:
        """The file of a name."""
        return self.files[name]

    def below(self, pattern: str, suffixes: Iterable[str], path: SpecPath) -> dict[str, Path]:
        """Those whose names the pattern matches."""
        from trtpipe.datasets.locations.patterns import Pattern

        wanted = Pattern(pattern, tuple(suffixes))
        return {name: file for name, file in self.files.items() if wanted.matches(name)}


def as_files(resolve: Resolve | Files) -> Files:
    """The same, able to list where it can."""
    return resolve if isinstance(resolve, Files) else _Single(resolve)
