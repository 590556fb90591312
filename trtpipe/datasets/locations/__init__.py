"""Finds the files of a data set: in a project, or among the files given to a stage by name. Opens none of them.

A folder or glob means the same in both cases: it is matched against names, and the matching files are known before a
stage runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from trtpipe.errors import SpecPath

Resolve = Callable[[str], Path]
"""A function from a file name in the spec to the file."""


@runtime_checkable
class Files(Protocol):
    """Resolves file names and patterns of the spec to files."""

    def __call__(self, name: str, path: SpecPath = ()) -> Path:
        """The file with this name; `path` is the place in the spec for errors. Raises SpecError."""

    def below(self, pattern: str, suffixes: Iterable[str], path: SpecPath) -> dict[str, Path]:
        """Name → file for everything that a folder, a glob or a file name at `path` of the spec selects.

        For a folder or glob, only files with one of the `suffixes` (lower case) are selected, and none whose name, or
        the name of a folder above it, begins with a dot. Raises SpecError.
        """


class _Single:
    """Finds files by exact name only."""

    def __init__(self, resolve: Resolve) -> None:
        self.resolve = resolve

    def __call__(self, name: str, path: SpecPath = ()) -> Path:
        return self.resolve(name)

    def below(self, pattern: str, suffixes: Iterable[str], path: SpecPath) -> dict[str, Path]:
        """Only exact file names are supported here."""
        return {pattern: self.resolve(pattern)}


class GivenFiles:
    """A fixed set of files, by name."""

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
    """The same resolver as `Files`; it supports folders and globs if the given one does."""
    return resolve if isinstance(resolve, Files) else _Single(resolve)
