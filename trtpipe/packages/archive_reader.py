"""Reads a package's tar archive without believing any of it.

This reader takes what `archive.py` writes and nothing more: regular files, and an extended header with path or size.
Python's `tarfile` follows many extensions, and reads a header of any size into memory; its `extractall` is not used.
Light: `select` reads the index of an archive with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trtpipe.errors import PackageError
from trtpipe.files import open_regular
from trtpipe.json_values import Malformed
from trtpipe.packages.index import INDEX, Index
from trtpipe.packages.index_file import LARGEST_INDEX, parse_index, reason_of, refuse_path
from trtpipe.problem_codes import Code

BLOCK, RECORD = 512, 10240
_CHUNK = 4 << 20
_LARGEST_EXTENSION = 64 << 10
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a directory",
    b"6": "a pipe", b"7": "a file of an odd kind", b"g": "an extension of the whole archive",
    b"L": "a long name as GNU writes it", b"K": "a long link as GNU writes it", b"S": "a file with holes",
}  # fmt: skip


def is_package_archive(path: Path) -> bool:
    """Whether a file is an archive that begins with an index that this trtpipe can read."""
    try:
        return path.is_file() and bool(archived_index(path).package)
    except PackageError:
        return False


def archived_index(path: Path) -> Index:
    """The index of an archive, of which nothing more is read. Raises PackageError."""
    with open_archive(path) as file:
        reader = ArchiveReader(file, path)
        return parse_index(index_of(next(reader.members(), None), reader), str(path))


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; its `chunks` are gone once the next one is asked for."""

    path: str
    size: int
    chunks: Iterator[bytes]

    def whole(self) -> bytes:
        """All bytes of a small file."""
        return b"".join(self.chunks)


class ArchiveReader:
    """Reads an archive from its beginning to its end, once. Every method raises PackageError."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._offset = file, path, 0

    def refused(self, why: str, *, unsafe: bool = False) -> PackageError:
        """The error that names this archive."""
        code = Code.PACKAGE_UNSAFE if unsafe else Code.PACKAGE_DAMAGED
        return PackageError(code, f"archive '{self._path}' is refused: {why}")

    def members(self) -> Iterator[Member]:
        """Every member, in the order in which they stand."""
        extension: dict[str, str] = {}
        while (header := self._read(BLOCK)) != bytes(BLOCK):
            kind, path, size = self._header(header)
            if kind == b"x":
                extension = self._extension(size)
                continue
            path, size = extension.get("path", path), int(extension.get("size", size))
            extension = {}
            if kind not in (b"0", b"\0"):
                what = _KINDS.get(kind, "of an unknown kind")
                raise self.refused(f"its member {path!r} is {what}", unsafe=True)
            try:
                refuse_path(path)
            except Malformed as error:
                raise self.refused(str(error), unsafe=True) from error
            member = Member(path, size, self._chunks(size))
            yield member
            for _ in member.chunks:  # what nobody read
                pass
            self._padding(size)
        self._end()

    def _header(self, header: bytes) -> tuple[bytes, str, int]:
        """Kind, path and size of the next member."""
        total = sum(header) - sum(header[148:156]) + 8 * 32  # the checksum counts itself as blanks
        if header[257:263] != b"ustar\0" or header[148:156] != b"%06o\0 " % total:
            raise self.refused("it is not a tar archive as trtpipe writes it, or it is damaged or compressed")
        name, prefix = (self._text(header[a:b].split(b"\0", 1)[0]) for a, b in ((0, 100), (345, 500)))
        path = f"{prefix}/{name}" if prefix else name
        return header[156:157], path, self._number(header[124:136])

    def _extension(self, size: int) -> dict[str, str]:
        """The records of an extended header: `LENGTH KEY=VALUE` and a newline each."""
        if size > _LARGEST_EXTENSION:
            raise self.refused("it has an extended header that is too large", unsafe=True)
        data, found = self._read(size), {}
        self._padding(size)
        while data:
            length, _, rest = data.partition(b" ")
            count = int(length) if length.isdigit() and len(length) < 6 else 0
            record, data = data[:count], data[count:]
            key, equals, value = record[len(length) + 1 : -1].partition(b"=")
            if not rest or not equals or len(record) != count or key not in (b"path", b"size"):
                raise self.refused("it has an extended header that trtpipe does not write", unsafe=True)
            found[key.decode()] = self._text(value)
        if not found.get("size", "0").isdecimal() or len(found.get("size", "0")) > 15:
            raise self.refused("a size in it is none")
        return found

    def _number(self, digits: bytes) -> int:
        text = digits.strip(b"\0 ")
        try:
            return int(text or b"0", 8)
        except ValueError:
            raise self.refused("a number in it is none") from None

    def _text(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self.refused("a path in it is not UTF-8", unsafe=True) from None

    def _chunks(self, size: int) -> Iterator[bytes]:
        while size:
            yield (chunk := self._read(min(size, _CHUNK)))
            size -= len(chunk)

    def _read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise self.refused(reason_of(error)) from error
        if len(data) < size:
            raise self.refused("it ends too early")
        self._offset += size
        return data

    def _padding(self, size: int) -> None:
        if any(self._read(-size % BLOCK)):
            raise self.refused("there is something between its files", unsafe=True)

    def _end(self) -> None:
        """Reads the blocks of zeros that fill the last record, and nothing behind them."""
        rest = self._read(BLOCK)
        rest += self._read(-self._offset % RECORD)
        if any(rest) or self._file.read(1):
            raise self.refused("there is something behind its end", unsafe=True)


def index_of(first: Member | None, reader: ArchiveReader) -> bytes:
    """The text of the index, which is an archive's first member. Raises PackageError."""
    if first is None or first.path != INDEX:
        raise reader.refused(f"it does not begin with {INDEX}")
    if first.size > LARGEST_INDEX:
        raise reader.refused(f"its {INDEX} is larger than {LARGEST_INDEX >> 20} MiB")
    return first.whole()


def open_archive(path: Path) -> BinaryIO:
    """Opens an archive. Raises PackageError."""
    try:
        return open_regular(path)
    except OSError as error:
        fact = f"cannot read archive '{path}': {reason_of(error)}"
        raise PackageError(Code.PACKAGE_DAMAGED, fact) from error
