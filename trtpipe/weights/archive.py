"""The members of an .npz archive (a zip file of .npy files) as arrays, each checked against the file.

Uncompressed members are mapped directly from the archive; compressed ones are unpacked in chunks into an unnamed
temporary file, large ones only as far as they are read. Sizes stated in the archive are checked against the file.
"""

from __future__ import annotations

import lzma
import os
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.weights.npy import NpyHeader, data_offset, map_array, read_header

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_PIECE = 1 << 20
_ALLOWED = 1 << 16  # a compressed member of at most this size is accepted with any compression ratio
_LARGEST_RATIO = (
    1032  # deflate's highest ratio (zlib's documentation); LZMA and bzip2 exceed it only for zeros
)
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field (APPNOTE 4.3.7)
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    ValueError,
    RuntimeError,
)
"""What zipfile raises for archives that are damaged, encrypted, or newer than it."""


class Archive:
    """An open archive; `text` names it in errors. `close` goes onto `stack`. Raises ModelError."""

    def __init__(self, path: Path, text: str, stack: ExitStack) -> None:
        self.text = text
        try:
            self.file: IO[bytes] = stack.enter_context(path.open("rb"))
            self._zip = stack.enter_context(zipfile.ZipFile(self.file))
        except (*_BROKEN, struct.error, UnicodeError) as error:
            raise ModelError(Code.NOT_NPZ, f"'{text}' is not an .npz archive: {_said(error)}") from error
        except OSError as error:
            raise ModelError(Code.CANNOT_READ, f"cannot read '{text}': {error.strerror or error}") from error
        infos = [info for info in self._zip.infolist() if info.filename.endswith(".npy")]
        self.infos = {info.filename[:-4]: info for info in infos}
        if len(infos) != len(self.infos):
            names = Counter(info.filename[:-4] for info in infos)
            twice = names.most_common(1)[0][0]
            raise ModelError(
                Code.WEIGHTS_TWICE, f"'{text}' holds array '{twice}' twice", "save the archive again"
            )

    @property
    def other_members(self) -> bool:
        """Whether it holds anything other than .npy files."""
        return len(self._zip.infolist()) > len(self.infos)

    def unpacked_size(self, name: str) -> int:
        """Bytes of temporary space that reading this member takes; 0 for a stored one."""
        info = self.infos[name]
        return 0 if info.compress_type == zipfile.ZIP_STORED else info.file_size

    def header(self, name: str) -> NpyHeader:
        """The contents of the member's header; its data are not read. Raises ModelError."""
        what, info = self._what(name), self._checked(name)
        if info.compress_type == zipfile.ZIP_STORED:
            start = self._stored_at(info, what)
            self.file.seek(start)
            header = read_header(self.file, what)
        else:
            try:
                with self._zip.open(info) as packed:
                    header = read_header(packed, what)
            except (*_BROKEN, OSError) as error:
                raise ModelError(Code.NOT_NPZ, f"{what} cannot be unpacked: {_said(error)}") from error
        if header.size + header.nbytes > info.file_size:
            raise ModelError(Code.NOT_NPZ, f"{what} is truncated", "copy or download the archive again")
        return header

    def array(self, name: str) -> Array:
        """The member, mapped read-only; a compressed one from an unnamed file that lives as long as the array."""
        header, info = self.header(name), self.infos[name]
        if info.compress_type == zipfile.ZIP_STORED:
            return map_array(self.file, header, self._stored_at(info, self._what(name)))
        with ExitStack() as own:
            unpacking = self.unpacking(name, own)
            unpacking.upto(info.file_size)
            return map_array(unpacking.target, header, 0)

    def unpacking(self, name: str, stack: ExitStack) -> Unpacking:
        """A compressed member that is unpacked as far as it is needed; its open files go onto `stack`."""
        info, what = self._checked(name), self._what(name)
        try:
            target = stack.enter_context(tempfile.TemporaryFile(prefix="trtpipe-"))  # noqa: SIM115 - the stack does
            target.truncate(info.file_size)  # a sparse file: unwritten parts take no space
            packed = stack.enter_context(self._zip.open(info))
        except (*_BROKEN, OSError) as error:
            raise ModelError(Code.NOT_NPZ, f"{what} cannot be unpacked: {_said(error)}") from error
        return Unpacking(packed, target, info.file_size, what)

    def data_offset(self, name: str) -> int | None:
        """The offset of the elements in the archive if they are row-major and little-endian; else None."""
        info = self.infos[name]
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        return data_offset(self.header(name), self._stored_at(info, self._what(name)))

    def _what(self, name: str) -> str:
        return f"array '{name}' of '{self.text}'"

    def _checked(self, name: str) -> zipfile.ZipInfo:
        """The member, if it can be read and its stated size is plausible."""
        info, what = self.infos[name], self._what(name)
        if info.flag_bits & 1:
            raise ModelError(Code.NOT_NPZ, f"{what} is encrypted")
        if info.header_offset < 0:
            raise ModelError(Code.NOT_NPZ, f"{what} is damaged: it begins before the archive does")
        if info.compress_type not in _METHODS:
            raise ModelError(Code.NOT_NPZ, f"{what} is compressed in a way that Python cannot unpack")
        # Deflate has a highest possible ratio; a larger size is false, and would only claim disk space.
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        if deflated and info.file_size > _ALLOWED + info.compress_size * _LARGEST_RATIO:
            sizes = f"{format_size(info.compress_size)} cannot unpack to {format_size(info.file_size)}"
            raise ModelError(
                Code.NOT_NPZ, f"{what} is damaged: {sizes}", "copy or download the archive again"
            )
        return info

    def _stored_at(self, info: zipfile.ZipInfo, what: str) -> int:
        self.file.seek(info.header_offset)
        # Name and extra field may have other lengths here than in the central directory, so only the local
        # header tells where the data begin.
        raw = self.file.read(_LOCAL_HEADER.size)
        if len(raw) < _LOCAL_HEADER.size or raw[:4] != b"PK\x03\x04":
            raise ModelError(Code.NOT_NPZ, f"{what} is damaged: no local header where the archive says")
        _, name, extra = _LOCAL_HEADER.unpack(raw)
        start = int(info.header_offset + _LOCAL_HEADER.size + name + extra)
        if start + info.file_size > os.fstat(self.file.fileno()).st_size:
            raise ModelError(Code.NOT_NPZ, f"{what} is truncated", "copy or download the archive again")
        return start


@dataclass(slots=True)
class Unpacking:
    """A compressed member that is unpacked step by step into a file which has its full size from the beginning."""

    packed: IO[bytes]
    target: IO[bytes]
    size: int
    what: str
    done: int = 0
    """So many bytes are in the file."""

    def upto(self, size: int) -> None:
        """Unpacks until the file holds the first `size` bytes. The checksum is verified with the last ones. Raises
        ModelError.
        """
        try:
            self._write(size)
            if self.done == self.size and self.packed.read(1):
                raise zipfile.BadZipFile("it is longer than the archive says")
            self.target.flush()
        except _BROKEN as error:
            raise ModelError(Code.NOT_NPZ, f"{self.what} cannot be unpacked: {_said(error)}") from error
        except OSError as error:
            raise ModelError(Code.CANNOT_READ, f"{self.what} cannot be unpacked: {error.strerror}") from error

    def _write(self, size: int) -> None:
        self.target.seek(self.done)  # mapping the file moves the position
        while self.done < min(size, self.size):
            piece = self.packed.read(min(_PIECE, self.size - self.done))
            if not piece:
                raise zipfile.BadZipFile("it is shorter than the archive says")
            self.target.write(piece)
            self.done += len(piece)


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
