"""Verifies a package: it has exactly the files of its index, each with its digest, and nothing that is no plain file.

A directory and an archive are checked by the same rules. Who made the package is another question, which a signature
answers (`signatures`). Files are read once, and nothing in them is interpreted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from trtpipe.digests import Digest, digest_file
from trtpipe.errors import PackageError
from trtpipe.packages.archive_reader import ArchiveReader, Member, index_of, open_archive
from trtpipe.packages.index import INDEX, Index
from trtpipe.packages.index_file import (
    DEEPEST_PATH,
    SIGNATURE,
    UNLISTED,
    digest_of,
    parse_index,
    read_index,
    reason_of,
)
from trtpipe.problem_codes import Code

LARGEST_SIGNATURE = 64 << 20
Sink = Callable[[str, bytes], None]
"""Takes the chunks of each file of an archive while they are checked."""


@dataclass(frozen=True)
class Verified:
    """A package whose files are those of its index."""

    path: Path
    index: Index
    signed: bool
    """Whether it has a signature, which was not looked at."""

    @property
    def digest(self) -> Digest:
        """The digest of the package."""
        return digest_of(self.index)


def verify_files(package: Path) -> Verified:
    """Verifies a directory or an archive. Raises PackageError at the first thing that is wrong."""
    return _verify_directory(package) if package.is_dir() else verify_archive(package)


def _verify_directory(package: Path) -> Verified:
    _refuse_odd(package / INDEX, INDEX, package)
    index = read_index(package)
    found = set(_walk(package))
    for path in sorted(found - index.files.keys() - UNLISTED):
        raise _extra(package, path)
    for path, promised in sorted(index.files.items()):
        if path not in found:
            raise _missing(package, path)
        try:
            same = digest_file(package / path) == Digest(promised.blake3, promised.bytes)
        except OSError as error:
            raise _damaged(package, f"cannot read {path}: {reason_of(error)}") from error
        if not same:
            raise _changed(package, path)
    return Verified(package, index, SIGNATURE in found)


def _walk(package: Path) -> Iterator[str]:
    """Every file below a package, as its index writes it. Raises PackageError for anything but files and folders."""
    todo = [package]
    while todo:
        folder = todo.pop()
        depth = len(folder.relative_to(package).parts)
        try:
            entries = sorted(os.scandir(folder), key=lambda one: one.name)
        except OSError as error:
            raise _damaged(package, f"cannot list '{folder}': {reason_of(error)}") from error
        if not entries or depth >= DEEPEST_PATH:
            raise _extra(package, folder.relative_to(package).as_posix() or ".")
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(package).as_posix()
            if entry.is_dir(follow_symlinks=False):
                todo.append(path)
            else:
                _refuse_odd(path, name, package)
                yield name


def _refuse_odd(path: Path, name: str, package: Path) -> None:
    """Raises PackageError for a link, a device or a pipe, and for a file that can be changed under another name."""
    try:
        found = path.lstat()
    except OSError:
        return  # it is missing, which is told where it is looked for
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG and found.st_nlink == 1:
        return
    words = {stat.S_IFLNK: "a symbolic link", stat.S_IFREG: "a hard link to a file with another name"}
    fact = f"package '{package}' is refused: {name} is {words.get(kind, 'no regular file')}"
    raise PackageError(Code.PACKAGE_UNSAFE, fact)


def verify_archive(package: Path, sink: Sink | None = None) -> Verified:
    """Verifies an archive while `sink` takes its files, which are good only once this returns. Raises PackageError."""
    with open_archive(package) as file:
        reader = ArchiveReader(file, package)
        members = reader.members()
        text = index_of(next(members, None), reader)
        index = parse_index(text, str(package))
        if sink is not None:
            sink(INDEX, text)
        found = {INDEX}
        for member in members:
            if member.path in found:
                raise reader.refused(f"it has {member.path} twice", unsafe=True)
            found.add(member.path)
            _check_member(member, index, package, sink)
    for path in sorted(index.files.keys() - found):
        raise _missing(package, path)
    return Verified(package, index, SIGNATURE in found)


def _check_member(member: Member, index: Index, package: Path, sink: Sink | None) -> None:
    promised = index.files.get(member.path)
    if promised is None and member.path != SIGNATURE:
        raise _extra(package, member.path)
    if promised is None:
        if member.size > LARGEST_SIGNATURE:
            raise _damaged(package, f"{SIGNATURE} is larger than {LARGEST_SIGNATURE >> 20} MiB")
        _hashed(member, sink)
    elif member.size != promised.bytes or _hashed(member, sink) != promised.blake3:
        raise _changed(package, member.path)


def _hashed(member: Member, sink: Sink | None) -> str:
    hasher = blake3()
    if sink is not None:
        sink(member.path, b"")  # so that an empty file is made as well
    for chunk in member.chunks:
        hasher.update(chunk)
        if sink is not None:
            sink(member.path, chunk)
    return hasher.hexdigest()


def _damaged(package: Path, why: str) -> PackageError:
    return PackageError(Code.PACKAGE_DAMAGED, f"package '{package}' is damaged: {why}")


def _missing(package: Path, path: str) -> PackageError:
    return _damaged(package, f"{path} is missing")


def _extra(package: Path, path: str) -> PackageError:
    return _damaged(package, f"{path} is not in its index")


def _changed(package: Path, path: str) -> PackageError:
    return _damaged(package, f"{path} is not the file that its index describes")
