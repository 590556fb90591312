"""A data set as batches of model inputs. Memory use is that of one batch.

Shuffling draws a permutation from numpy's PCG64 seeded with the data set's seed, before the number of samples is
limited, so that the first n samples of a shuffled set are a random selection. A model with a fixed batch dimension gets
complete batches only; the remaining samples are dropped and counted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets import Reader, Source, readers_of
from trtpipe.datasets.locations import Files, Resolve, as_files
from trtpipe.datasets.samples.arrays import array_of, opened, own_inputs
from trtpipe.datasets.samples.feeds import Fault, Feed, feed_of
from trtpipe.datasets.samples.fit import dims_text, feed_problems
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import DatasetSpec, InputSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtpipe.arrays import Array

Batch: TypeAlias = "tuple[dict[str, Array], Array | None]"

LISTED = 20
"""How many unreadable samples an error lists."""
_MOST_SHUFFLED = 1 << 26
"""With more samples, a small selection is drawn without permuting all of their numbers."""


@dataclass
class Dataset:
    """An iterable of `(inputs by name, labels or None)` that can be iterated again; close it as a context manager."""

    feeds: tuple[Feed, ...]
    labels: Source | None
    order: NDArray[np.int64]
    """The indices of the samples, in the order of use."""
    batch: int
    dropped: int
    """Samples left out because the model takes whole batches only."""
    stack: ExitStack = field(repr=False)

    @property
    def samples(self) -> int:
        """The number of samples used."""
        return len(self.order)

    @property
    def has_labels(self) -> bool:
        """Whether each sample has a class."""
        return self.labels is not None

    @property
    def has_names(self) -> bool:
        """Whether samples have names other than their numbers."""
        return any(feed.is_image or feed.varies for feed in self.feeds)

    def __iter__(self) -> Iterator[Batch]:
        for indices in self._batches():
            labels = None if self.labels is None else self.labels.rows(indices)
            yield {feed.info.name: feed.values(indices) for feed in self.feeds}, labels

    def looked_at(self) -> Iterator[tuple[NDArray[np.int64], dict[str, tuple[Array, list[Fault]]]]]:
        """Each batch's sample numbers, and input → its values and the faults found in them; no fault raises."""
        for indices in self._batches():
            made = {feed.info.name: (feed, feed.made(indices)) for feed in self.feeds}
            yield (
                indices,
                {name: (array, feed.faults(array, indices)) for name, (feed, array) in made.items()},
            )

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        for start in range(0, len(self.order), self.batch):
            yield self.order[start : start + self.batch]

    def sample_shapes(self) -> tuple[dict[str, tuple[int, ...]], ...]:
        """Every distinct set of input shapes; no sample values are read. Raises SpecError."""
        return tuple(shapes for shapes, _ in self.shapes_by_sample())

    def shapes_by_sample(self) -> list[tuple[dict[str, tuple[int, ...]], str]]:
        """Every distinct set of input shapes, and the first sample that has it.

        For images only the headers are read. Raises SpecError naming those that cannot be read.
        """
        counts = [min(self.batch, len(self.order))]
        rest = len(self.order) % self.batch
        if rest and rest not in counts:
            counts.append(rest)
        judged = next((feed for feed in self.feeds if feed.is_image or feed.varies), self.feeds[0])
        seen = self._seen() if self.has_names else [int(self.order[0])]
        found: dict[tuple[tuple[str, tuple[int, ...]], ...], tuple[dict[str, tuple[int, ...]], str]] = {}
        for count in counts:
            for index in seen:
                shapes = {feed.info.name: feed.shape_at(index, count) for feed in self.feeds}
                found.setdefault(tuple(shapes.items()), (shapes, judged.source.name_of(index)))
        return list(found.values())

    def _seen(self) -> list[int]:
        """One sample for each set of shapes; every header is read. Raises SpecError with all that cannot be read."""
        found: dict[tuple[tuple[int, ...] | None, ...], int] = {}
        problems: dict[str, Problem] = {}
        for number in map(int, self.order):
            shapes = tuple(_shape_or_problems(feed, number, problems) for feed in self.feeds)
            found.setdefault(shapes, number)
        if problems:
            raise SpecError(_first_of(list(problems.values())))
        return list(found.values())

    def close(self) -> None:
        """Releases the files."""
        self.stack.close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _shape_or_problems(feed: Feed, number: int, problems: dict[str, Problem]) -> tuple[int, ...] | None:
    try:
        return feed.shape_at(number, 1)
    except SpecError as error:
        problems.update({problem.fact: problem for problem in error.problems})
        return None


def open_dataset(
    spec: DatasetSpec,
    resolve: Resolve | Files,
    inputs: Sequence[TensorInfo] | None = None,
    *,
    samples: int | None = None,
) -> Dataset:
    """The data set as batches for a model with these inputs; without any, for the inputs that it declares itself.

    A context manager. At most `samples` samples are used. Everything that can be checked without reading samples is
    checked here and reported together. Raises SpecError, with paths into the data set's spec.
    """
    return _open(spec, readers_of(spec), as_files(resolve), inputs, samples)


def _open(
    spec: DatasetSpec,
    readers: Mapping[str, Reader],
    files: Files,
    inputs: Sequence[TensorInfo] | None,
    samples: int | None,
) -> Dataset:
    """The data set for a model with these inputs, or for its own. Raises SpecError with every problem found."""
    with ExitStack() as stack:
        # checked before files that are opened only when they are read
        later = stack.enter_context(ExitStack())
        sources = opened(spec, readers, files, later)
        problems: list[Problem] = []
        feeds = _feeds(spec, sources, own_inputs(spec, sources) if inputs is None else inputs, problems)
        total = _total(feeds, problems)
        labels = _labels(spec, sources, total, problems)
        batch = _batch(spec, feeds, problems)
        if spec.samples is not None and total is not None and spec.samples > total:
            fact = f"{spec.samples} samples are requested, but there are {total}"
            problems.append(
                Problem(Code.TOO_FEW_SAMPLES, fact, f"write samples: {total} or less", path=("samples",))
            )
        if problems:
            raise SpecError(problems)
        order = _order(spec, total or 1, samples)
        kept = len(order) - (len(order) % batch if _fixed_batch(feeds) else 0)
        if not kept:
            fact = f"{len(order)} samples do not fill one batch of {batch}, which the model requires"
            raise SpecError(Problem(Code.TOO_FEW_SAMPLES, fact, path=("samples",)))
        made = Dataset(tuple(feeds), labels, order[:kept], batch, len(order) - kept, stack)
        _refuse_differing(made)
        made.stack = stack.pop_all()
        return made


def _refuse_differing(data: Dataset) -> None:
    """Raises SpecError when samples with different dims would have to be put in one batch."""
    if data.batch == 1:
        return
    for feed in (one for one in data.feeds if one.varies):
        first = int(data.order[0])
        shape = feed.shape_at(first, 1)
        for number in data.order:
            other = feed.shape_at(int(number), 1)
            if other != shape:
                one, two = feed.source.name_of(first), feed.source.name_of(int(number))
                said = f"{one} gives {dims_text(shape)} and {two} {dims_text(other)}"
                fact = f"batch is {data.batch}, but {said}"
                remedy = "resize them to the same size, or leave out batch"
                raise SpecError(Problem(Code.BATCH_SIZE, fact, remedy, path=("inputs", feed.info.name)))


def _first_of(problems: list[Problem]) -> list[Problem]:
    """The first LISTED problems, and how many more there are."""
    if len(problems) <= LISTED:
        return problems
    return [
        *problems[:LISTED],
        Problem(Code.MORE_PROBLEMS, f"and {len(problems) - LISTED} more", severity="note"),
    ]


def _feeds(
    spec: DatasetSpec, sources: Mapping[str, Source], inputs: Sequence[TensorInfo], problems: list[Problem]
) -> list[Feed]:
    names = [info.name for info in inputs]
    for name in spec.inputs:
        if name not in names:
            remedy = _listed(name, names, "the model's inputs are")
            problems.append(
                Problem(Code.UNKNOWN_INPUT, f"the model has no input '{name}'", remedy, path=("inputs", name))
            )
    feeds: list[Feed] = []
    for info in inputs:
        feed = _feed(spec, sources, info, problems)
        if feed is not None:
            found = list(feed_problems(feed))
            problems += found
            feeds += [] if found else [feed]
    return feeds


def _feed(
    spec: DatasetSpec, sources: Mapping[str, Source], info: TensorInfo, problems: list[Problem]
) -> Feed | None:
    given = spec.inputs.get(info.name) or InputSpec()
    array = array_of(spec, info.name, sources)
    if array not in sources:
        path = ("inputs", info.name, "array") if given.array else ("inputs",)
        valid = [name for name in sources if name != spec.labels]
        remedy = _listed(array, valid, "the arrays are")
        problems.append(
            Problem(
                Code.UNKNOWN_ARRAY,
                f"no array '{array}' for the model's input '{info.name}'",
                remedy,
                path=path,
            )
        )
        return None
    try:
        return feed_of(info, given, sources[array], array)
    except SpecError as error:
        problems += error.problems
        return None


def _listed(wanted: str, valid: list[str], words: str) -> str:
    close = difflib.get_close_matches(wanted, valid, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}{words} {', '.join(repr(name) for name in valid) or 'none'}"


def _total(feeds: list[Feed], problems: list[Problem]) -> int | None:
    counts = {feed.array: feed.source.shape[0] or 0 for feed in feeds if feed.sliced}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"'{name}' {count}" for name, count in counts.items())
        remedy = "an array that is fed with every batch needs constant: true"
        problems.append(
            Problem(
                Code.SAMPLE_COUNTS,
                f"the arrays hold different numbers of samples: {said}",
                remedy,
                path=("inputs",),
            )
        )
    return min(counts.values(), default=None)


def _labels(
    spec: DatasetSpec, sources: Mapping[str, Source], total: int | None, problems: list[Problem]
) -> Source | None:
    if spec.labels is None:
        return None
    source = sources.get(spec.labels)
    path = ("labels",)
    if source is None:
        remedy = _listed(spec.labels, list(sources), "the arrays are")
        problems.append(Problem(Code.LABELS, f"no array '{spec.labels}' for the labels", remedy, path=path))
        return None
    if len(source.shape) != 1 or np.dtype(source.dtype).kind not in "iu":
        fact = f"labels '{spec.labels}' are {np.dtype(source.dtype).name} {dims_text(source.shape)}"
        problems.append(Problem(Code.LABELS, f"{fact}, not one integer per sample", path=path))
    elif total is not None and source.shape[0] != total:
        fact = f"there are {source.shape[0]} labels '{spec.labels}' for {total} samples"
        problems.append(Problem(Code.LABELS, fact, path=path))
    return source


def _fixed_batch(feeds: Sequence[Feed]) -> int | None:
    for feed in feeds:
        if feed.sliced and feed.info.dims and not feed.one_by_one and isinstance(feed.info.dims[0], int):
            return feed.info.dims[0]
    return None


def _batch(spec: DatasetSpec, feeds: Sequence[Feed], problems: list[Problem]) -> int:
    fixed = _fixed_batch(feeds)
    if any(feed.one_by_one for feed in feeds):
        if spec.batch != 1:
            fact = f"batch is {spec.batch}, but each random sample is already a whole batch"
            problems.append(Problem(Code.BATCH_SIZE, fact, "leave out batch", path=("batch",)))
        return 1
    if fixed is None or fixed == spec.batch:
        return spec.batch
    if spec.batch != 1:
        fact = f"batch is {spec.batch}, but the model's batch dimension is fixed at {fixed}"
        problems.append(
            Problem(Code.BATCH_SIZE, fact, f"write batch: {fixed}, or leave it out", path=("batch",))
        )
    return fixed


def _order(spec: DatasetSpec, total: int, samples: int | None) -> NDArray[np.int64]:
    used = min(limit for limit in (spec.samples, samples, total) if limit is not None)
    if spec.shuffle and total > _MOST_SHUFFLED and used < total // 100:
        return np.random.Generator(np.random.PCG64(spec.seed)).choice(total, used, replace=False)
    if spec.shuffle:
        return np.random.Generator(np.random.PCG64(spec.seed)).permutation(total)[:used]
    return np.arange(used)
