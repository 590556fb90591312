"""Class labels of images: from their folders, or from a .csv file of lines `path,class`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtpipe.arrays import Array, Dtype
    from trtpipe.datasets import Indices

_PATH = ("labels",)
_SHOWN = 3
_LARGEST_CLASS = 2**31 - 1
_LARGEST_FILE = 256 << 20


@dataclass(frozen=True)
class ClassArray:
    """One class index for each image, int64."""

    classes: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The number of images."""
        return tuple(self.classes.shape)

    @property
    def dtype(self) -> Dtype:
        """int64."""
        return self.classes.dtype

    def rows(self, indices: Indices) -> Array:
        """The classes at `indices`."""
        found: NDArray[np.int64] = self.classes[indices]
        return found

    def whole(self) -> Array:
        """All of them."""
        found: NDArray[np.int64] = self.classes.copy()
        return found

    def shape_at(self, index: int) -> tuple[int, ...]:
        """Empty, because a class is a scalar."""
        return ()

    def name_of(self, index: int) -> str:
        """Samples are named by their numbers."""
        return f"sample {index}"


def classes_of_folders(relative: Sequence[str]) -> ClassArray:
    """The classes of images: the first component of each path below the image folder. Raises SpecError."""
    outside = [path for path in relative if "/" not in path]
    if outside:
        fact = f"labels: folders, but {_listed(outside)} is in no folder of a class"
        raise SpecError(
            Problem(Code.LABELS, fact, "move it into one, or use a .csv file as labels", path=_PATH)
        )
    folders = [path.partition("/")[0] for path in relative]
    numbers = {folder: number for number, folder in enumerate(sorted(set(folders)))}
    return ClassArray(np.array([numbers[folder] for folder in folders], np.int64))


def classes_of_file(
    file: Path, text: str, names: Sequence[str], relative: Sequence[str | None]
) -> ClassArray:
    """The class of every image, looked up by its path below the image folder or in the project. Raises SpecError."""
    known = dict(_read(file, text))
    found = [
        known.get(name, known.get(below) if below else None)
        for name, below in zip(names, relative, strict=True)
    ]
    lacking = [name for name, label in zip(names, found, strict=True) if label is None]
    if lacking:
        fact = f"'{text}' has no class for {_listed(lacking)}"
        remedy = "write a line path,class for each image, with paths relative to the project or to the image folder"
        raise SpecError(Problem(Code.LABELS, fact, remedy, path=_PATH))
    return ClassArray(np.array(found, np.int64))


def _read(file: Path, text: str) -> Iterator[tuple[str, int]]:
    """Path and class of each line; a first line whose class is not a number is a header."""
    seen: dict[str, int] = {}
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"it is larger than {_LARGEST_FILE >> 20} MiB")
        with file.open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.reader(stream, strict=True), 1):
                entry = _entry(row, number)
                if entry is not None and seen.setdefault(*entry) != entry[1]:
                    raise ValueError(f"line {number} gives '{entry[0]}' another class than before")
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(
            Problem(Code.CANNOT_READ, f"cannot read '{text}': {reason}", "write lines path,class", path=_PATH)
        ) from error
    yield from seen.items()


def _entry(row: Sequence[str], number: int) -> tuple[str, int] | None:
    if not row or (number == 1 and not row[-1].strip().isdecimal()):
        return None
    if len(row) != 2 or not row[1].strip().isdecimal() or len(row[1]) > 12:
        raise ValueError(f"line {number} is not path,class with a class of 0 or more")
    label = int(row[1])
    if label > _LARGEST_CLASS:
        raise ValueError(f"line {number} has class {label}")
    return row[0].strip().replace("\\", "/").removeprefix("./"), label


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
