"""parquet: columns of Parquet files, streamed batch by batch. Needs PyArrow, and Pillow for columns of images.

A sample is a number, a list of numbers (of fixed or varying length, possibly nested) or an encoded image: bytes, or a
struct with a field `bytes` as the datasets library writes it. A column is read once, when it is first needed, into an
unnamed temporary file, so that samples can be drawn in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locations import Files
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import DatasetSpec

if TYPE_CHECKING:
    from trtpipe.datasets.spools.columns import Columns

_WHERE = ("parquet",)
_SUFFIXES = (".parquet", ".pq")


def _files(spec: DatasetSpec, files: Files) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for pattern in spec.parquet or ():
        found |= files.below(pattern, _SUFFIXES, _WHERE)
    if not found:
        shown = ", ".join(f"'{pattern}'" for pattern in spec.parquet or ())
        fact = f"no Parquet files in {shown or 'an empty list'}"
        raise SpecError(
            Problem(Code.NO_SAMPLES, fact, f"file names must end in {' or '.join(_SUFFIXES)}", path=_WHERE)
        )
    return dict(sorted(found.items()))


def _open(spec: DatasetSpec, files: Files, stack: ExitStack) -> Mapping[str, Source]:
    from trtpipe.datasets.spools.columns import Columns

    return _Arrays(Columns(_files(spec, files), stack))


class _Arrays(Mapping[str, Source]):
    """Arrays by name; each is read on first access."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.read: dict[str, Source] = {}

    def __getitem__(self, name: str) -> Source:
        if name not in self.columns.names:
            raise KeyError(name)
        if name not in self.read:
            self.read[name] = self.columns.source(name)
        return self.read[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns.names)

    def __len__(self) -> int:
        return len(self.columns.names)


reader = Reader(
    version=1, files=_files, open=_open, packages=("pyarrow",), extra="parquet", may_use=("pillow",)
)
