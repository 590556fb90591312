"""Writes a package as a tar archive: equal contents are equal bytes.

`index.json` comes first, so that what follows can be checked against it as it is read; then the signature, if there is
one, and the other files, sorted. Members are regular files alone, with mode 0644, time 0 and no owner; directories are
implied. The format is PAX as Python's `tarfile` writes it: byte for byte USTAR, unless a path is longer than USTAR
takes, or not ASCII, or a file has 8 GiB or more. It is not compressed: engines hardly shrink, and other versions of a
compressor give other bytes.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.files import temporary_folder
from trtpipe.packages.archive_reader import BLOCK, RECORD, is_package_archive
from trtpipe.packages.directory import Signer, Written, fill_directory, written
from trtpipe.packages.index import INDEX
from trtpipe.packages.index_file import SIGNATURE, index_bytes
from trtpipe.packages.places import checked_chunks, new_place

if TYPE_CHECKING:
    from trtpipe.packages.contents import Contents


def write_archive(
    contents: Contents, out: Path, *, sign: Signer | None = None, force: bool = False
) -> Written:
    """Writes the package to a new tar archive. Raises PackageError."""
    with new_place(out, is_package_archive, force=force) as place:
        signature = _signature(contents, sign) if sign is not None else None
        with place.open("xb") as file:
            for chunk in _archive(contents, signature):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        place.chmod(0o644)
    return written(contents, out, "tar", signed=sign is not None)


def _signature(contents: Contents, sign: Signer) -> bytes:
    """The signature of the same package as a directory, which is made for it: its signer reads a directory."""
    with temporary_folder("package") as folder:
        fill_directory(contents, folder / "package", sign)
        return (folder / "package" / SIGNATURE).read_bytes()


def _archive(contents: Contents, signature: bytes | None) -> Iterator[bytes]:
    size = 0
    for chunk in _members(contents, signature):
        size += len(chunk)
        yield chunk
    size += 2 * BLOCK
    yield bytes(2 * BLOCK + -size % RECORD)


def _members(contents: Contents, signature: bytes | None) -> Iterator[bytes]:
    yield from _member(INDEX, [index := index_bytes(contents.index)], len(index))
    if signature is not None:
        yield from _member(SIGNATURE, [signature], len(signature))
    for path, promised in sorted(contents.index.files.items()):
        chunks = checked_chunks(path, contents.sources[path], promised)
        yield from _member(path, chunks, promised.bytes)


def _member(path: str, chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    about = tarfile.TarInfo(path)
    about.size, about.mode, about.mtime = size, 0o644, 0
    yield about.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
    yield from chunks
    yield bytes(-size % BLOCK)
