"""npz: one zip archive of .npy members.

Members that are stored are mapped where they lie; compressed ones are unpacked, piece by piece, into an unnamed
temporary file and mapped there, so that samples can be drawn in any order and memory stays that of a batch.
"""

from __future__ import annotations

import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import IO, Any

from trtpipe.datasets import Reader, Resolve, Source
from trtpipe.datasets.sampling.mapped import map_array, read_header
from trtpipe.errors import Problem, SpecError
from trtpipe.shapes import format_size
from trtpipe.spec.dataset import DatasetSpec

LARGEST_UNPACKED = 16 << 30
"""Bytes that compressed members may claim together: beyond it is a zip bomb, or better stored as .npy."""

_WHERE = ("npz",)
_PIECE = 1 << 20
_LOCAL_HEADER = struct.Struct(
    "<4s22xHH"
)  # signature, then the lengths of name and extra field (APPNOTE 4.3.7)


def _files(spec: DatasetSpec) -> tuple[str, ...]:
    return (spec.npz,) if spec.npz else ()


def _open(spec: DatasetSpec, resolve: Resolve, stack: ExitStack) -> Mapping[str, Source]:
    text = spec.npz or ""
    path = resolve(text)
    try:
        file = stack.enter_context(path.open("rb"))
        archive = stack.enter_context(zipfile.ZipFile(file))
    except zipfile.BadZipFile as error:
        raise SpecError(Problem(f"'{text}' is no .npz archive: {error}", path=_WHERE)) from error
    except OSError as error:
        raise SpecError(Problem(f"cannot read '{text}': {error.strerror}", path=_WHERE)) from error
    return _Members(archive, file, text, stack)


class _Members(Mapping[str, Source]):
    """Arrays by name; each is opened, and unpacked, when it is first asked for."""

    def __init__(self, archive: zipfile.ZipFile, file: IO[bytes], text: str, stack: ExitStack) -> None:
        self.archive, self.file, self.text, self.stack = archive, file, text, stack
        self.infos = {i.filename[:-4]: i for i in archive.infolist() if i.filename.endswith(".npy")}
        self.opened: dict[str, Source] = {}
        self.unpacked = 0

    def __getitem__(self, name: str) -> Source:
        if name not in self.opened:
            info = self.infos[name]
            if info.compress_type != zipfile.ZIP_STORED:
                self._count(info.file_size)
            self.opened[name] = _member(self.archive, self.file, info, self.text, self.stack)
        return self.opened[name]

    def __contains__(self, name: object) -> bool:
        return name in self.infos

    def __iter__(self) -> Iterator[str]:
        return iter(self.infos)

    def __len__(self) -> int:
        return len(self.infos)

    def _count(self, size: int) -> None:
        self.unpacked += size
        if self.unpacked <= LARGEST_UNPACKED:
            return
        unpacked, allowed = format_size(self.unpacked), format_size(LARGEST_UNPACKED)
        fact = f"'{self.text}' would unpack to {unpacked} or more; {allowed} are allowed"
        remedy = "store its arrays uncompressed (numpy.savez) or as .npy files"
        raise SpecError(Problem(fact, remedy, path=_WHERE))


def _member(
    archive: zipfile.ZipFile, file: IO[bytes], info: zipfile.ZipInfo, text: str, stack: ExitStack
) -> Source:
    what = f"array '{info.filename[:-4]}' of '{text}'"
    if info.flag_bits & 1:
        raise SpecError(Problem(f"{what} is encrypted", path=_WHERE))
    if info.compress_type == zipfile.ZIP_STORED:
        opened, start, size = file, _data_offset(file, info, what), info.file_size
    else:
        opened, start, size = _unpacked(archive, info, what, stack), 0, info.file_size
    opened.seek(start)
    header = read_header(opened, what, _WHERE)
    header = type(header)(header.shape, header.fortran, header.dtype, header.size - start)
    if header.size + header.nbytes > size:
        raise SpecError(Problem(f"{what} is cut short", "copy or download the archive again", path=_WHERE))
    return map_array(opened, header, start)


def _data_offset(file: IO[bytes], info: zipfile.ZipInfo, what: str) -> int:
    file.seek(info.header_offset)
    raw = file.read(_LOCAL_HEADER.size)
    if len(raw) < _LOCAL_HEADER.size or raw[:4] != b"PK\x03\x04":
        raise SpecError(Problem(f"{what} is damaged: no local header where the archive says", path=_WHERE))
    _, name, extra = _LOCAL_HEADER.unpack(raw)
    return int(info.header_offset + _LOCAL_HEADER.size + name + extra)


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, what: str, stack: ExitStack) -> Any:
    target: Any = stack.enter_context(tempfile.TemporaryFile(prefix="trtpipe-"))  # noqa: SIM115 (the stack closes it)
    try:
        with archive.open(info) as packed:
            left = info.file_size
            while piece := packed.read(min(_PIECE, left + 1)):
                left -= len(piece)
                if left < 0:
                    raise zipfile.BadZipFile("it is longer than the archive says")
                target.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SpecError(Problem(f"{what} cannot be unpacked: {error}", path=_WHERE)) from error
    except OSError as error:
        raise SpecError(Problem(f"{what} cannot be unpacked: {error.strerror}", path=_WHERE)) from error
    target.flush()
    return target


reader = Reader(version=1, files=_files, open=_open)
