"""Arrays of samples, memory-mapped from files: only the requested rows are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.errors import ModelError, SpecError, SpecPath

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype
    from trtpipe.datasets import Indices
    from trtpipe.weights.archive import Unpacking
    from trtpipe.weights.npy import NpyHeader


@dataclass(frozen=True)
class MappedArray:
    """A mapped array."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dims."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Dtype:
        """Its numpy.dtype."""
        return self.array.dtype

    def rows(self, indices: Indices) -> Array:
        """The rows at `indices`, copied."""
        return np.array(self.array[indices])

    def whole(self) -> Array:
        """All rows, copied."""
        return np.array(self.array)

    def shape_at(self, index: int) -> tuple[int, ...]:
        """The dims of one sample."""
        return self.shape[1:]

    def name_of(self, index: int) -> str:
        """Samples are named by their numbers."""
        return f"sample {index}"


@dataclass(frozen=True)
class UnpackedArray(MappedArray):
    """A mapped array whose file is unpacked only as far as its rows are requested."""

    unpacking: Unpacking
    header: NpyHeader
    where: SpecPath
    """The place in the data set's spec that names it."""

    def rows(self, indices: Indices) -> Array:
        """The rows at `indices`, copied."""
        self._have(int(np.max(indices, initial=-1)) + 1)
        return np.array(self.array[indices])

    def whole(self) -> Array:
        """All rows, copied."""
        self._have(self.shape[0] if self.shape else 1)
        return np.array(self.array)

    def _have(self, rows: int) -> None:
        """Unpack the first rows; in Fortran order every row needs the whole array."""
        row = self.header.nbytes // max(1, self.shape[0] if self.shape else 1)
        size = self.header.nbytes if self.header.fortran else rows * row
        with told_at(self.where):
            full = size >= self.header.nbytes
            self.unpacking.upto(self.unpacking.size if full else self.header.size + size)


@contextmanager
def told_at(path: SpecPath) -> Iterator[None]:
    """Turns problems of a file into problems at the place in the data set's spec that names the file."""
    try:
        yield
    except ModelError as error:
        raise SpecError([replace(problem, path=path) for problem in error.problems]) from error
