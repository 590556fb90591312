"""Data sets: samples on disk, or seeded random ones, as batches of model inputs.

Each plain module here reads one kind of source, named as the data set's spec names it, with a module-level `reader`;
`sampling` makes batches of what they read. This module imports no numpy: keys are made with it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trtpipe.canonical.summary import TensorInfo
from trtpipe.digests import Digest, digest_file
from trtpipe.spec.dataset import DatasetSpec

if TYPE_CHECKING:
    from trtpipe.datasets.sampling.batches import Dataset

Resolve = Callable[[str], Path]
"""What turns a file's name in the spec into the file."""


class Source(Protocol):
    """One array of samples: dims and NumPy type known, rows read when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dims; the first counts samples."""

    @property
    def dtype(self) -> Any:
        """Its numpy.dtype."""

    def rows(self, indices: Any) -> Any:
        """The rows at `indices`, in that order, as a new array."""

    def whole(self) -> Any:
        """All of it."""


@dataclass(frozen=True)
class Reader:
    """One kind of source."""

    version: int
    """Enters the key; raised when the same files would give other samples."""
    files: Callable[[DatasetSpec], tuple[str, ...]]
    """The files, as the spec names them, whose bytes the samples depend on."""
    open: Callable[[DatasetSpec, Resolve, ExitStack], Mapping[str, Source]]
    """Opens the arrays; what must be closed goes onto the stack. Raises SpecError."""


def reader_names() -> tuple[str, ...]:
    """The kinds of sources that there are; none is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def kind_of(spec: DatasetSpec) -> str:
    """Which kind of source a data set has."""
    return next(name for name in reader_names() if getattr(spec, name, None) is not None)


def find_reader(name: str) -> Reader:
    """The reader of a kind."""
    found = importlib.import_module(f"{__name__}.{name}").reader
    assert isinstance(found, Reader), f"{name} has no module-level reader"
    return found


def source_files(spec: DatasetSpec, resolve: Resolve) -> dict[str, Path]:
    """File as the spec names it → the file."""
    return {name: resolve(name) for name in find_reader(kind_of(spec)).files(spec)}


def dataset_record(spec: DatasetSpec, digests: Mapping[str, Digest]) -> dict[str, Any]:
    """Everything that the samples depend on, for a key: the sources' digests, the reader, the preprocessing.

    Licence and description change no sample and are left out.
    """
    described = spec.model_dump(mode="json", by_alias=True, exclude={"license", "description"})
    kind = kind_of(spec)
    return {
        "reader": kind,
        "reader_version": find_reader(kind).version,
        "sources": {name: str(digest) for name, digest in digests.items()},
        "spec": described,
    }


def digest_sources(spec: DatasetSpec, resolve: Resolve) -> dict[str, Digest]:
    """The digests of the source files. Raises SpecError from `resolve`, OSError."""
    return {name: digest_file(path) for name, path in source_files(spec, resolve).items()}


def open_dataset(
    spec: DatasetSpec,
    resolve: Resolve,
    inputs: Sequence[TensorInfo],
    *,
    samples: int | None = None,
) -> Dataset:
    """The data set as batches for a model with these inputs; a context manager.

    At most `samples` are used. Everything that can be told without reading samples is checked here and reported
    together. Raises SpecError, with paths into the data set's spec.
    """
    from trtpipe.datasets.sampling.batches import open_batches

    return open_batches(spec, find_reader(kind_of(spec)), resolve, inputs, samples)
