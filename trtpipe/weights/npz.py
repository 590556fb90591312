"""An .npz archive as named weights, one array unpacked at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError, Problem
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.weights.archive import Archive
from trtpipe.weights.elements import dtype_called, native, refuse_foreign_type
from trtpipe.weights.npy import NpyHeader

if TYPE_CHECKING:
    from trtpipe.arrays import Array

LARGEST_UNPACKED = 16 << 30
"""Bytes that one compressed array may claim: beyond it is a zip bomb, or better stored."""


class NpzFile:
    """The arrays of an archive, by name; every header is checked when it is opened. Raises ModelError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with ExitStack() as stack:
            archive = Archive(path, str(path), stack)
            if not archive.infos:
                what = "no array" if not archive.other_members else "no array, but other files"
                remedy = (
                    "PyTorch checkpoints are pickles and are never read: save their tensors as .safetensors"
                )
                raise ModelError(Code.NOT_NPZ, f"'{path}' holds {what}", remedy)
            self._headers = _headers(archive)
            self._offsets = {name: archive.data_offset(name) for name in self._headers}
        self.names = tuple(self._headers)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Dims of an array."""
        return self._headers[name].shape

    def dtype_of(self, name: str) -> str:
        """Element type of an array."""
        return dtype_called(self._headers[name].dtype)

    def count_of(self, name: str) -> int:
        """Elements of an array."""
        return math.prod(self._headers[name].shape)

    def array(self, name: str) -> Array:
        """The values: mapped if stored, otherwise from an unnamed file that lives as long as they do."""
        with ExitStack() as stack:
            return native(Archive(self._path, str(self._path), stack).array(name))

    def location(self, name: str) -> tuple[Path, int] | None:
        """The position of an array's values, if they are stored uncompressed."""
        offset = self._offsets[name]
        return None if offset is None else (self._path, offset)


def _headers(archive: Archive) -> dict[str, NpyHeader]:
    found: dict[str, NpyHeader] = {}
    problems: list[Problem] = []
    for name in archive.infos:
        with _collected(problems):
            found[name] = _header(archive, name)
    if problems:
        raise ModelError(problems)
    return found


@contextmanager
def _collected(problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        problems += error.problems


def _header(archive: Archive, name: str) -> NpyHeader:
    header = archive.header(name)
    refuse_foreign_type(f"array '{name}' of '{archive.text}'", header.dtype)
    if archive.unpacked_size(name) > LARGEST_UNPACKED:
        sizes = f"{format_size(archive.unpacked_size(name))}; {format_size(LARGEST_UNPACKED)} are allowed"
        fact = f"array '{name}' of '{archive.text}' would unpack to {sizes}"
        raise ModelError(Code.FILE_TOO_LARGE, fact, "store the arrays uncompressed (numpy.savez)")
    return header
