"""Arrays in NumPy's .npy format, mapped from a file and never unpickled.

The format is NumPy's NEP 1. Object arrays are refused: reading them would run code from the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from trtpipe.errors import Problem, SpecError, SpecPath

_KINDS = "biuf"


@dataclass(frozen=True)
class MappedArray:
    """A mapped array; only the rows that are asked for are read."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dims."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        """Its numpy.dtype."""
        return self.array.dtype

    def rows(self, indices: Any) -> Any:
        """The rows at `indices`, copied."""
        return np.array(self.array[indices])

    def whole(self) -> Any:
        """All of it, copied."""
        return np.array(self.array)


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What the first bytes of a .npy say."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: Any
    size: int
    """Bytes of the header."""

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return math.prod(self.shape) * int(self.dtype.itemsize)


def read_header(file: IO[bytes], what: str, path: SpecPath) -> NpyHeader:
    """The header at the start of `file`; `what` names it in errors. Raises SpecError."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"format version {version[0]}.{version[1]} is for structured arrays only")
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SpecError(Problem(f"{what} is no array in the .npy format: {reason}", path=path)) from error
    if dtype.hasobject:
        fact = f"{what} holds Python objects, which are never unpickled"
        raise SpecError(Problem(fact, "save numbers: numpy.save(..., allow_pickle=False)", path=path))
    if dtype.kind not in _KINDS:
        raise SpecError(Problem(f"{what} has type {dtype}, which is no number and no boolean", path=path))
    return NpyHeader(tuple(int(dim) for dim in shape), bool(fortran), dtype, file.tell())


def map_array(file: Any, header: NpyHeader, start: int) -> MappedArray:
    """The array whose header begins at byte `start` of an open file."""
    if header.nbytes == 0:
        return MappedArray(np.zeros(header.shape, header.dtype))
    order: Any = "F" if header.fortran else "C"
    offset = start + header.size
    return MappedArray(
        np.memmap(file, mode="r", offset=offset, dtype=header.dtype, shape=header.shape, order=order)
    )
