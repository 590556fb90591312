"""The samples of one array in an unnamed temporary file: one sample is in memory at a time, all of them are on disk.

Samples of one array have one type and rank; their dims may differ.
"""

from __future__ import annotations

import tempfile
from array import array
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

import numpy as np

from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_shape, format_size

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype
    from trtpipe.datasets import Indices

LARGEST_SPOOLED = 64 << 30
"""Limit in bytes for one array; larger ones are better stored as .npy, which is read in place."""
MOST_SAMPLES = 50_000_000


class Spool:
    """The samples of one array; supports appending and reading."""

    def __init__(self, stack: ExitStack) -> None:
        file = tempfile.TemporaryFile(prefix="trtpipe-samples-")  # noqa: SIM115 - the stack closes it
        self._file: IO[bytes] = stack.enter_context(file)
        self._end = 0
        self._offsets = array("q")
        self._shapes: dict[tuple[int, ...], int] = {}
        self._kinds = array("l")  # for each sample, the index of its shape
        self.dtype: Dtype | None = None

    def append(self, sample: Array, named: str, path: SpecPath) -> None:
        """Writes one sample. Raises SpecError at `path`, naming the sample `named`, and OSError."""
        said = self._unfit(sample)
        if said:
            raise SpecError(Problem(Code.DATA_CODE, f"{named} {said}", path=path))
        content = np.ascontiguousarray(sample.astype(self.dtype, copy=False)).tobytes()
        self.append_bytes(content, named, path, sample.shape)

    def _unfit(self, sample: Array) -> str:
        """Why a sample does not match those before it; empty when it does."""
        if sample.dtype.hasobject or sample.dtype.names or sample.dtype.kind in "USmMc":
            return f"holds {sample.dtype}, not numbers"
        if self.dtype is None:
            self.dtype = sample.dtype.newbyteorder("=")
        first = next(iter(self._shapes), sample.shape)
        if sample.dtype.newbyteorder("=") != self.dtype:
            return f"is {sample.dtype.name}, the ones before it {self.dtype.name}"
        if len(sample.shape) != len(first):
            return f"is {format_shape(sample.shape)}, the first one {format_shape(first)}"
        return "" if sample.size else f"is empty ({format_shape(sample.shape)})"

    def append_bytes(self, content: bytes, named: str, path: SpecPath, shape: tuple[int, ...] = ()) -> None:
        """Writes the bytes of one sample. Raises SpecError and OSError."""
        if self._end + len(content) > LARGEST_SPOOLED or len(self._offsets) >= MOST_SAMPLES:
            most = f"at most {MOST_SAMPLES:,} samples or {format_size(LARGEST_SPOOLED)} can be copied"
            remedy = "give fewer samples, or store them as .npy files, which are read in place"
            raise SpecError(
                Problem(Code.DATA_TOO_LARGE, f"{named} is one too many: {most}", remedy, path=path)
            )
        self._file.write(content)
        self._offsets.append(self._end)
        self._end += len(content)
        self._kinds.append(self._shapes.setdefault(shape, len(self._shapes)))

    def close(self) -> None:
        """Ends writing; no more samples will be appended."""
        self._file.flush()
        self._offsets.append(self._end)

    def __len__(self) -> int:
        return len(self._kinds)

    def bytes_at(self, index: int) -> bytes:
        """One sample's bytes."""
        self._file.seek(self._offsets[index])
        content: bytes = self._file.read(self._offsets[index + 1] - self._offsets[index])
        return content

    def shape_at(self, index: int) -> tuple[int, ...]:
        """The dims of one sample."""
        return tuple(self._shapes)[self._kinds[index]]

    def sample(self, index: int) -> Array:
        """One sample."""
        return np.frombuffer(self.bytes_at(index), self.dtype).reshape(self.shape_at(index))

    def common_shape(self) -> tuple[int | None, ...]:
        """The dims of a sample; None where samples differ."""
        shapes = list(self._shapes)
        return tuple(dims[0] if len(set(dims)) == 1 else None for dims in zip(*shapes, strict=True))


class SpooledArray:
    """A closed spool as an array of samples."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its dims; None where samples differ."""
        return len(self.spool), *self.spool.common_shape()

    @property
    def dtype(self) -> Dtype:
        """Its numpy.dtype."""
        return np.dtype(np.float32) if self.spool.dtype is None else self.spool.dtype

    def rows(self, indices: Indices) -> Array:
        """The samples at `indices`, which must have one shape."""
        return np.stack([self.spool.sample(int(index)) for index in indices])

    def whole(self) -> Array:
        """All of it."""
        return self.rows(range(len(self.spool)))

    def shape_at(self, index: int) -> tuple[int, ...]:
        """The dims of one sample."""
        return self.spool.shape_at(index)

    def name_of(self, index: int) -> str:
        """Samples are named by their numbers."""
        return f"sample {index}"
