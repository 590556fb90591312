"""Where a package is written: beside its place first, then renamed, so that nothing is ever half-written there.

What exists already is replaced only if it is a package and the user asks for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from trtpipe.errors import PackageError
from trtpipe.files import folder_beside, is_disk_full
from trtpipe.packages.index import PackedFile
from trtpipe.packages.index_file import reason_of
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.packages.contents import Source

_CHUNK = 4 << 20


@contextlib.contextmanager
def new_place(out: Path, is_ours: Callable[[Path], bool], *, force: bool = False) -> Iterator[Path]:
    """A path beside `out` to write a file or a directory to, which becomes `out` when the block ends well.

    If anything goes wrong in it, a full disk or Ctrl-C included, nothing is left behind and an older package stays.
    `is_ours` says whether what exists may be replaced with `force`. Raises PackageError.
    """
    _refuse_existing(out, is_ours, force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with folder_beside(out) as folder:
            made = folder / "new"
            yield made
            _replace(made, out, folder)
    except OSError as error:
        code = Code.DISK_FULL if is_disk_full(error) else Code.CANNOT_WRITE
        fact = f"cannot write package '{out}': {reason_of(error)}; nothing was changed there"
        raise PackageError(code, fact) from error


def _refuse_existing(out: Path, is_ours: Callable[[Path], bool], force: bool) -> None:
    if not os.path.lexists(out):
        return
    if not force:
        remedy = "choose another place, or replace the package there with --force"
        raise PackageError(Code.EXISTS_ALREADY, f"'{out}' exists already", remedy)
    if out.is_symlink() or not is_ours(out):
        fact = f"'{out}' exists already and is no package, so --force does not replace it"
        raise PackageError(Code.EXISTS_ALREADY, fact)


def _replace(made: Path, out: Path, folder: Path) -> None:
    """Puts what was made in its place. A directory cannot replace another in one step, so that one steps aside."""
    aside = folder / "old"
    if out.is_dir():
        out.replace(aside)
    try:
        made.replace(out)
    except BaseException:
        if aside.exists():
            aside.replace(out)
        raise
    _flush(out.parent)


def write_files(folder: Path, sources: Mapping[str, Source], files: Mapping[str, PackedFile]) -> None:
    """Writes a package's files into a new directory: equal modes whatever the umask. Raises OSError, PackageError."""
    folder.mkdir()
    for path in sorted(sources):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for chunk in checked_chunks(path, sources[path], files[path]):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    settle(folder)


def settle(folder: Path) -> None:
    """Gives files and directories the modes that they have in every package, and flushes the directories."""
    for place, _, names in os.walk(folder):
        Path(place).chmod(0o755)
        for name in names:
            (Path(place) / name).chmod(0o644)
        _flush(Path(place))


def checked_chunks(path: str, source: Source, promised: PackedFile) -> Iterator[bytes]:
    """The bytes of one file. Raises PackageError at their end if they are not those that the index describes."""
    hasher = blake3()
    for chunk in [source] if isinstance(source, bytes) else _chunks(source):
        hasher.update(chunk)
        yield chunk
    if hasher.hexdigest() != promised.blake3:
        raise PackageError(Code.NOT_BUILT, f"{path} changed while it was packaged; package it again")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _flush(folder: Path) -> None:
    if os.name != "nt":  # Windows has no way to flush a directory
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
