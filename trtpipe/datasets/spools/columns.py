"""Columns of Parquet files as arrays of samples. Row groups are streamed: memory use is that of one batch of rows.

Whatever PyArrow raises on a damaged file becomes one problem that names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from trtpipe.datasets import Source
from trtpipe.datasets.pixels.arrays import ImageArray
from trtpipe.datasets.pixels.decoders import Encoded
from trtpipe.datasets.spools.spool import Spool, SpooledArray
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import InputSpec

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

    from trtpipe.arrays import Array
    from trtpipe.datasets import Indices

WHERE = ("parquet",)
_ROWS = 256


class Columns:
    """The columns of a sequence of files that can be samples. Raises SpecError."""

    def __init__(self, files: Mapping[str, Path], stack: ExitStack) -> None:
        from pyarrow import parquet

        self.stack = stack
        self.files: dict[str, parquet.ParquetFile] = {}
        for name, path in files.items():
            with _readable(name):
                opened = parquet.ParquetFile(path)
                self.stack.callback(opened.close)
                self.files[name] = opened
        first = next(iter(self.files))
        with _readable(first):
            self.types = {field.name: field.type for field in self.files[first].schema_arrow}
        self.names = tuple(name for name, kind in self.types.items() if _is_image(kind) or _is_numbers(kind))
        self._refuse_differing(first)

    def _refuse_differing(self, first: str) -> None:
        for name, file in self.files.items():
            with _readable(name):
                types = {field.name: field.type for field in file.schema_arrow}
            if types != self.types:
                fact = f"'{name}' has other columns or column types than '{first}'"
                raise SpecError(
                    Problem(Code.PARQUET_COLUMNS, fact, "use files with the same schema", path=WHERE)
                )

    def source(self, name: str) -> Source:
        """A column as samples. Raises SpecError."""
        return self._images(name) if _is_image(self.types[name]) else ColumnArray(self, name)

    def rows(self) -> int:
        """The number of rows according to the files' metadata."""
        return sum(file.metadata.num_rows for file in self.files.values())

    def spooled(self, name: str) -> Spool:
        """A column, read completely into a temporary file. Raises SpecError."""
        spool = Spool(self.stack)
        for file, row, value in self._values(name):
            named = f"row {row} of column '{name}' of '{file}'"
            if value is None:
                raise SpecError(
                    Problem(Code.PARQUET_COLUMNS, f"{named} is null", "leave such rows out", path=WHERE)
                )
            if isinstance(value, bytes):
                spool.append_bytes(value, named, WHERE)
            else:
                spool.append(value, named, WHERE)
        if len(spool) != self.rows():
            raise SpecError(
                Problem(
                    Code.PARQUET_COLUMNS,
                    f"column '{name}' has {len(spool)} rows, but its file says {self.rows()}",
                    path=WHERE,
                )
            )
        spool.close()
        return spool

    def _images(self, name: str) -> ImageArray:
        if find_spec("PIL") is None:
            fact = f"images in column '{name}' need pillow"
            raise SpecError(
                Problem(Code.MISSING_PACKAGE, fact, "install it: pip install 'trtpipe[images]'", path=WHERE)
            )
        spool = cache(lambda: self.spooled(name))  # when the first image is asked for

        def encoded(index: int) -> Encoded:
            return Encoded(f"row {index} of column {name}", spool().bytes_at(index), WHERE)

        return ImageArray(_RowNames(name, self.rows()), encoded, InputSpec())

    def _values(self, column: str) -> Iterator[tuple[str, int, Array | bytes | None]]:
        """File, row and value of each sample; None for null."""
        for name, file in self.files.items():
            row = 0
            batches = file.iter_batches(batch_size=_ROWS, columns=[column], use_threads=False)
            while True:
                with _readable(name):
                    batch = next(batches, None)
                    values = [] if batch is None else list(_rows_of(batch.column(0)))
                if batch is None:
                    break
                for value in values:
                    yield name, row, value
                    row += 1


class ColumnArray:
    """A column of numbers; it is read on first access to a row, or to its dims when its type does not give them."""

    def __init__(self, columns: Columns, name: str) -> None:
        self.columns, self.name = columns, name
        self.dims, kind = _dims_of(columns.types[name])
        self.dtype = np.dtype(kind.to_pandas_dtype())

    @cached_property
    def spooled(self) -> SpooledArray:
        """Its samples in a temporary file. Raises SpecError."""
        return SpooledArray(self.columns.spooled(self.name))

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its dims; None where rows differ."""
        return self.spooled.shape if None in self.dims else (self.columns.rows(), *self.dims)

    def rows(self, indices: Indices) -> Array:
        """The rows at `indices`, which must have one shape."""
        return self.spooled.rows(indices)

    def whole(self) -> Array:
        """All of it."""
        return self.spooled.whole()

    def shape_at(self, index: int) -> tuple[int, ...]:
        """The dims of one row."""
        return self.spooled.shape_at(index)

    def name_of(self, index: int) -> str:
        """Samples are named by their numbers."""
        return f"sample {index}"


def _dims_of(kind: pyarrow.DataType) -> tuple[tuple[int | None, ...], pyarrow.DataType]:
    """The dims of a row of this type (None where the type does not give them) and the type of its numbers."""
    from pyarrow import types

    dims: list[int | None] = []
    while _is_list(kind):
        dims.append(kind.list_size if types.is_fixed_size_list(kind) else None)
        kind = kind.value_type
    return tuple(dims), kind


class _RowNames(Sequence[str]):
    """Names of rows, made on access."""

    def __init__(self, column: str, count: int) -> None:
        self.column, self.rows = column, count

    def __len__(self) -> int:
        return self.rows

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self.rows))]
        return f"row {index} of column {self.column}"


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except SpecError:
        raise
    except Exception as error:  # PyArrow's readers raise whatever a damaged file makes them raise
        said = " ".join(str(error).split())[:200]
        fact = f"cannot read '{name}' as Parquet: {said or type(error).__name__}"
        raise SpecError(Problem(Code.PARQUET_COLUMNS, fact, "copy or write it again", path=WHERE)) from error


def _is_image(kind: pyarrow.DataType) -> bool:
    """Whether the type is bytes, or a struct with a bytes field."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(
            kind.field(at).name == "bytes" and _is_image(kind.field(at).type) for at in range(kind.num_fields)
        )
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_numbers(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    while _is_list(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _rows_of(column: pyarrow.Array) -> Iterator[Array | bytes | None]:
    """The rows of one chunk of a column: arrays, bytes, or None."""
    from pyarrow import types

    if types.is_struct(column.type):
        inner = column.field("bytes")
        valid, inside = column.is_valid().to_pylist(), inner.to_pylist()
        yield from (value if there else None for there, value in zip(valid, inside, strict=True))
    elif _is_image(column.type):
        yield from column.to_pylist()
    else:
        yield from (_array(column, at) for at in range(len(column)))


def _is_list(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _array(column: pyarrow.Array, at: int) -> Array | None:
    """One row of numbers; None where it, or a number in it, is null."""
    scalar = column[at]
    if not scalar.is_valid:
        return None
    if not _is_list(column.type):
        return np.asarray(scalar.as_py(), column.type.to_pandas_dtype())
    values = scalar.values
    shape = [len(values)]
    while _is_list(values.type):
        if values.null_count:
            return None
        lengths = set(values.value_lengths().to_pylist())
        if len(lengths) > 1:
            raise ValueError("it contains lists of different lengths")
        shape.append(lengths.pop() if lengths else 0)
        values = values.flatten()
    return None if values.null_count else np.array(values.to_numpy(zero_copy_only=False)).reshape(shape)
