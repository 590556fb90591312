"""Arrays in NumPy's .npy format, mapped from a file and never unpickled; and a single .npy file as weights.

The format is NumPy's NEP 1. Its header is a Python literal, which is parsed by a pattern, not evaluated. Object arrays
are rejected, because reading them would run code from the file.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code
from trtpipe.weights.elements import dtype_called, native, refuse_foreign_type

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 16
_MOST_DIMS = 32
_LARGEST_DIM = 1 << 48
_KINDS = "biuf"

_ENTRY = re.compile(
    r"""\s*['"](\w+)['"]\s*:\s*('[^']*'|"[^"]*"|True|False|\([\d\sL,]*\)|\[)\s*(?:,|(?=\}))?"""
)


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """The contents of a .npy header."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: Dtype
    size: int
    """Bytes of the header."""

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return math.prod(self.shape) * int(self.dtype.itemsize)


def read_header(file: IO[bytes], what: str) -> NpyHeader:
    """The header at the file's position, at most 64 KiB of it read; `what` names it in errors. Raises ModelError."""
    try:
        text, size = _header_text(file)
        entries = _entries(text)
    except (ValueError, OSError) as error:
        raise ModelError(Code.NOT_NPY, f"{what} is not an array in the .npy format: {error}") from error
    dtype = _dtype(entries["descr"], what)
    return NpyHeader(_shape(entries["shape"], what), entries["fortran_order"] == "True", dtype, size)


def map_array(file: IO[bytes], header: NpyHeader, start: int) -> Array:
    """The array whose header begins at byte `start` of an open file, read-only; the file is known to hold it."""
    import numpy as np

    if header.nbytes == 0:
        return np.zeros(header.shape, header.dtype)
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    offset = start + header.size
    return np.memmap(file, mode="r", offset=offset, dtype=header.dtype, shape=header.shape, order=order)


def data_offset(header: NpyHeader, start: int) -> int | None:
    """The offset of the elements if they are row-major and little-endian; else None."""
    plain = not header.fortran and header.dtype == header.dtype.newbyteorder("<")
    return start + header.size if plain and header.nbytes else None


class NpyFile:
    """One .npy file; its only array has the file's name without the suffix."""

    def __init__(self, path: Path) -> None:
        what = f"'{path}'"
        try:
            with path.open("rb") as file:
                self._header = read_header(file, what)
                size = file.seek(0, 2)
        except OSError as error:
            raise ModelError(Code.CANNOT_READ, f"cannot read '{path}': {error.strerror}") from error
        refuse_foreign_type(what, self._header.dtype)
        if size - self._header.size < self._header.nbytes:
            held = size - self._header.size
            fact = f"{what} is truncated: it says {self._header.nbytes} bytes of data and has {held}"
            raise ModelError(Code.NOT_NPY, fact, "copy or download it again")
        self._path = path
        self.names: tuple[str, ...] = (path.stem,)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Its dims."""
        return self._header.shape

    def dtype_of(self, name: str) -> str:
        """Its element type."""
        return dtype_called(self._header.dtype)

    def count_of(self, name: str) -> int:
        """How many elements."""
        return math.prod(self._header.shape)

    def array(self, name: str) -> Array:
        """Its values."""
        with self._path.open("rb") as file:
            return native(map_array(file, self._header, 0))

    def location(self, name: str) -> tuple[Path, int] | None:
        """The position of the values in the file."""
        offset = data_offset(self._header, 0)
        return None if offset is None else (self._path, offset)


def _header_text(file: IO[bytes]) -> tuple[str, int]:
    prefix = file.read(8)
    if len(prefix) < 8 or prefix[:6] != _MAGIC:
        raise ValueError("it does not begin as one")
    version = prefix[6], prefix[7]
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"format version {version[0]}.{version[1]} is for structured arrays only")
    width, code = (2, "<H") if version == (1, 0) else (4, "<I")
    raw = file.read(width)
    if len(raw) < width:
        raise ValueError("it ends within its header")
    length = int(struct.unpack(code, raw)[0])
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header claims {length} bytes; {_LONGEST_HEADER} are allowed")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it ends within its header")
    return text.decode("latin-1"), 8 + width + length


def _entries(text: str) -> dict[str, str]:
    """The header's three entries, with unparsed values."""
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError("its header is not a dictionary")
    found: dict[str, str] = {}
    position = 1
    while match := _ENTRY.match(text, position):
        if match[2] == "[":
            raise ValueError("it is a structured array")
        found[match[1]] = match[2].strip("'\"")
        position = match.end()
    if text[position:].strip() != "}" or set(found) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header must say descr, fortran_order and shape, nothing else")
    return found


def _dtype(descr: str, what: str) -> Dtype:
    import numpy as np

    try:
        dtype: Dtype | None = (
            np.dtype(descr) if re.fullmatch(r"[<>|=]?[?biufcSUVOMm]\d{0,4}", descr) else None
        )
    except TypeError:
        dtype = None
    if dtype is None:
        raise ModelError(Code.WEIGHTS_TYPE, f"{what} has type {descr!r}, which is not a type of NumPy's")
    if dtype.hasobject:
        remedy = "save numbers: numpy.save(..., allow_pickle=False)"
        raise ModelError(Code.WEIGHTS_TYPE, f"{what} holds Python objects, which are never unpickled", remedy)
    if dtype.kind not in _KINDS:
        raise ModelError(
            Code.WEIGHTS_TYPE, f"{what} has type {dtype}, which is neither a number nor a boolean"
        )
    return dtype


def _shape(text: str, what: str) -> tuple[int, ...]:
    dims = [dim.strip().removesuffix("L") for dim in text.strip("()").split(",")]
    dims = [dim for dim in dims if dim]
    if not text.startswith("(") or any(not re.fullmatch(r"\d{1,15}", dim, re.ASCII) for dim in dims):
        raise ModelError(Code.NOT_NPY, f"{what} has shape {text[:80]}, which is not a shape")
    shape = tuple(map(int, dims))
    if len(shape) > _MOST_DIMS or any(dim > _LARGEST_DIM for dim in shape):
        raise ModelError(
            Code.NOT_NPY, f"{what} has an impossible shape: {len(shape)} dims, up to {max(shape)}"
        )
    return shape
