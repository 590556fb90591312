"""Data sets: reads arrays from files and makes batches of model inputs in a declared order, reading only what is used.

Each kind of source is one module here, named like its key in the data set's spec, with a module-level `reader`;
`samples/` makes batches from the arrays that readers return, `locations/` finds the files. This module does not import
numpy because step keys are computed with it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from trtpipe.datasets.locations import Files, Resolve, as_files
from trtpipe.digests import Digest, digest_file
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import DatasetSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtpipe.arrays import Array, Dtype
    from trtpipe.json_values import Json


Indices: TypeAlias = "Sequence[int] | NDArray[np.int64]"
"""Sample numbers."""


class Source(Protocol):
    """One array of samples: dims and NumPy type are known, rows are read on request."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its dims; the first is the number of samples. None stands for a dim that differs between samples."""

    @property
    def dtype(self) -> Dtype:
        """Its numpy.dtype."""

    def rows(self, indices: Indices) -> Array:
        """The rows at `indices`, in that order, as a new array."""

    def whole(self) -> Array:
        """All of it."""

    def shape_at(self, index: int) -> tuple[int, ...]:
        """The dims of one sample, without reading its values. Raises SpecError naming a sample that cannot be read."""

    def name_of(self, index: int) -> str:
        """A sample's name for messages: its file, or `sample 7`."""


@dataclass(frozen=True)
class Reader:
    """One kind of source."""

    version: int
    """Part of the key; increase it when the same files would give other samples."""
    files: Callable[[DatasetSpec, Files], Mapping[str, Path]]
    """The files whose bytes the samples depend on, by name. Raises SpecError."""
    open: Callable[[DatasetSpec, Files, ExitStack], Mapping[str, Source]]
    """Opens the arrays; whatever must be closed is pushed on the stack. Raises SpecError."""
    packages: tuple[str, ...] = ()
    """Distributions, besides the base ones, whose versions can change the samples."""
    extra: str = ""
    """The extra of trtpipe that installs them."""
    may_use: tuple[str, ...] = ()
    """Distributions that only some samples need, and whose versions can change those."""
    runs_code: bool = False
    """Whether opening runs code of the project: allowed only in a stage's process, with `GivenFiles`."""


def reader_names() -> tuple[str, ...]:
    """The kinds of sources that exist; none is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def find_reader(name: str) -> Reader:
    """The reader of a kind."""
    found = importlib.import_module(f"{__name__}.{name}").reader
    assert isinstance(found, Reader), f"{name} has no module-level reader"
    return found


def readers_of(spec: DatasetSpec) -> Mapping[str, Reader]:
    """The readers of a data set's sources, by kind. Raises SpecError when a package that one needs is missing."""
    found = {kind: find_reader(kind) for kind in spec.kinds()}
    problems = [problem for kind, reader in found.items() for problem in _missing(kind, reader)]
    if problems:
        raise SpecError(problems)
    return found


def _missing(kind: str, reader: Reader) -> Iterator[Problem]:
    missing = [name for name in reader.packages if _version(name) is None]
    if missing:
        fact = f"a data set of {kind} needs {' and '.join(missing)}"
        yield Problem(
            Code.MISSING_PACKAGE, fact, f"install it: pip install 'trtpipe[{reader.extra}]'", path=(kind,)
        )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def source_files(spec: DatasetSpec, resolve: Resolve | Files) -> dict[str, Path]:
    """Maps each file name in the spec to the file. Raises SpecError."""
    files = as_files(resolve)
    return {
        name: path for reader in readers_of(spec).values() for name, path in reader.files(spec, files).items()
    }


def dataset_record(spec: DatasetSpec, digests: Mapping[str, Digest]) -> dict[str, Json]:
    """Everything that the samples depend on, for the key: digests of the sources, the readers, the preprocessing.

    Licence and description are left out because they change no sample; so is everything that the spec does not set.
    """
    described = spec.model_dump(
        mode="json", by_alias=True, exclude={"license", "description"}, exclude_none=True
    )
    readers = readers_of(spec)
    named = {name for reader in readers.values() for name in (*reader.packages, *reader.may_use)}
    packages = {name: version for name in sorted(named) if (version := _version(name)) is not None}
    return {
        "readers": {kind: reader.version for kind, reader in readers.items()},
        **({"packages": packages} if packages else {}),
        "sources": {name: str(digest) for name, digest in digests.items()},
        "spec": described,
    }


def runs_code(spec: DatasetSpec) -> bool:
    """Whether opening the data set runs code of the project. Raises SpecError when a package is missing."""
    return any(reader.runs_code for reader in readers_of(spec).values())


def digest_sources(spec: DatasetSpec, resolve: Resolve | Files) -> dict[str, Digest]:
    """The digests of the source files. Raises SpecError from `resolve`, OSError."""
    return {name: digest_file(path) for name, path in source_files(spec, resolve).items()}
