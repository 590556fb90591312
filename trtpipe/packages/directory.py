"""Writes a package as a directory: `index.json`, the files that it names, and perhaps a signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.digests import Digest
from trtpipe.errors import PackageError
from trtpipe.files import write_whole
from trtpipe.packages.index import INDEX, Index
from trtpipe.packages.index_file import digest_of, index_bytes, read_index
from trtpipe.packages.places import new_place, settle, write_files

if TYPE_CHECKING:
    from trtpipe.packages.contents import Contents


@dataclass(frozen=True)
class Written:
    """A package that was written."""

    path: Path
    form: str
    digest: Digest
    """Of its index, and so of the whole package but its signature."""
    files: int
    bytes: int
    index: Index
    signed: bool = False
    notes: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    """The command that starts a server with it, an argument in each line; none for most forms."""
    pushed: tuple[str, ...] = ()
    """What was done to push it, in lines."""


Signer = Callable[[Path], None]
"""Signs a package's directory, which gets one more file."""


def write_directory(
    contents: Contents, out: Path, *, sign: Signer | None = None, force: bool = False
) -> Written:
    """Writes the package to a new directory. Raises PackageError."""
    with new_place(out, is_package_directory, force=force) as place:
        fill_directory(contents, place, sign)
    return written(contents, out, "dir", signed=sign is not None)


def fill_directory(contents: Contents, folder: Path, sign: Signer | None) -> None:
    """Makes a directory of the contents. Raises OSError, PackageError."""
    write_files(folder, contents.sources, contents.index.files)
    write_whole(folder / INDEX, index_bytes(contents.index))
    if sign is not None:
        sign(folder)
    settle(folder)


def written(contents: Contents, out: Path, form: str, *, signed: bool) -> Written:
    """What to tell of a package that is in its place."""
    index = contents.index
    size = sum(file.bytes for file in index.files.values())
    return Written(out, form, digest_of(index), len(index.files) + 1, size, index, signed)


def is_package_directory(path: Path) -> bool:
    """Whether a directory is a package that this trtpipe can read."""
    try:
        return path.is_dir() and bool(read_index(path).package)
    except PackageError:
        return False
