"""Feeds: the inputs of one run each, checked against what a model takes, with all mistakes reported at once.

Independent of where the arrays come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem, SpecError
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.signature import Signature, dims_text, profile_for
from trtpipe.runners.inference.tensors import element_type, type_name

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype

_NUMBERS = "biufc"


@dataclass(frozen=True, slots=True)
class Feed:
    """The inputs of one run."""

    arrays: Mapping[str, Array]
    rows: tuple[str, ...] = ()
    """What each row of the batch is (an image's file, a sample's number); empty when unknown."""
    labels: tuple[int, ...] = ()
    """The class of each row, if the data set has classes."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The arrays' shapes."""
        return {name: tuple(array.shape) for name, array in self.arrays.items()}


def unknown_inputs(names: Sequence[str], signature: Signature) -> Iterator[Problem]:
    """A problem for each name that is not an input, with the most similar input."""
    for name in names:
        if name not in signature.names:
            yield Problem(
                Code.UNKNOWN_INPUT,
                f"there is no input {name!r}",
                choose_from(name, signature.names, "inputs"),
            )


def checked_feed(feed: Feed, signature: Signature, *, cast: bool) -> Feed:
    """The feed with every array in its input's type. Raises SpecError with every problem.

    With `cast`, numbers of another type are converted; without, they are rejected, except for types that NumPy's files
    lack.
    """
    problems = [*unknown_inputs(list(feed.arrays), signature)]
    made: dict[str, Array] = {}
    for info in signature.inputs:
        if info.name not in feed.arrays:
            fact = f"input '{info.name}' is missing: {info.dtype} {dims_text(info.dims)}"
            problems.append(Problem(Code.MISSING_INPUT, fact, f"give it with --input {info.name}=FILE.npy"))
            continue
        array = feed.arrays[info.name]
        problems += _misshapen(info, array)
        typed = _typed(info, array, cast=cast)
        if isinstance(typed, Problem):
            problems.append(typed)
        else:
            made[info.name] = typed
    if problems:
        raise SpecError(problems)
    return Feed(made, feed.rows, feed.labels)


def _misshapen(info: TensorInfo, array: Array) -> Iterator[Problem]:
    dims = info.dims
    if dims is None:
        return
    shape = tuple(array.shape)
    right = len(shape) == len(dims) and all(
        size == dim for size, dim in zip(shape, dims, strict=True) if isinstance(dim, int)
    )
    if not right:
        remedy = ""
        if len(shape) == len(dims) - 1:
            remedy = "the batch dimension may be what is missing: array[None]"
        yield Problem(
            Code.INPUT_MISFIT, f"input '{info.name}' is {dims_text(shape)}, not {dims_text(dims)}", remedy
        )


def _typed(info: TensorInfo, array: Array, *, cast: bool) -> Array | Problem:
    """The array in the input's type, or why its own type does not fit."""
    try:
        wanted = element_type(info.dtype)
    except TypeError:
        return Problem(Code.INPUT_TYPE, f"input '{info.name}' is {info.dtype}, which cannot be fed here")
    if array.dtype.name == wanted.name:
        return array.astype(wanted, copy=False)  # the array may have the other byte order
    has, foreign = type_name(array), not _in_numpy(info.dtype)
    if array.dtype.kind not in _NUMBERS or not (cast or foreign):
        remedy = f"convert it: array.astype('{info.dtype}'), or use --cast"
        return Problem(
            Code.INPUT_TYPE, f"input '{info.name}' is {has}, and the model takes {info.dtype}", remedy
        )
    return converted(array, wanted)


def converted(array: Array, wanted: Dtype) -> Array:
    """The array in another type; values beyond its range are converted as NumPy does."""
    import numpy as np

    with np.errstate(all="ignore"):
        return array.astype(wanted)


def _in_numpy(dtype: str) -> bool:
    return str(element_type(dtype)) == dtype and dtype not in ("bfloat16", "int4")


def checked_profile(feed: Feed, signature: Signature, wanted: int | None, *, can_split: bool = False) -> int:
    """The profile that takes the feed. Raises SpecError, which suggests --batch if that would help."""
    valued = {name for profile in signature.profiles for name, entry in profile.items() if entry.values}
    values = {name: tuple(int(value) for value in feed.arrays[name].reshape(-1)) for name in sorted(valued)}
    try:
        return profile_for(signature, feed.shapes(), values, wanted)
    except SpecError as error:
        if not (can_split and _too_many_rows(feed, signature)):
            raise
        (problem,) = error.problems
        remedy = f"{problem.remedy}\n--batch N runs N rows at a time"
        raise SpecError(Problem(problem.code, problem.fact, remedy)) from error


def _too_many_rows(feed: Feed, signature: Signature) -> bool:
    """Whether an input has more rows than any profile takes."""
    for name, array in feed.arrays.items():
        tops = [entry.max[0] for one in signature.profiles if (entry := one.get(name)) and entry.max]
        if tops and array.ndim and len(array) > max(tops):
            return True
    return False


def split_feed(feed: Feed, signature: Signature, batch: int) -> Iterator[Feed]:
    """The feed in pieces of `batch` rows, the last one smaller; inputs with a fixed first dim are whole in each.

    Raises SpecError when the inputs to split have different numbers of rows.
    """
    cut = [info.name for info in signature.inputs if info.dims and not isinstance(info.dims[0], int)]
    rows = {name: len(feed.arrays[name]) for name in cut if name in feed.arrays}
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"'{name}' {count}" for name, count in rows.items())
        raise SpecError(
            Code.SAMPLE_COUNTS, f"the inputs have different numbers of rows: {listed}", "leave out --batch"
        )
    total = next(iter(rows.values()), 0)
    if total <= batch:
        yield feed
        return
    for start in range(0, total, batch):
        piece = slice(start, start + batch)
        arrays = {name: array[piece] if name in rows else array for name, array in feed.arrays.items()}
        yield Feed(arrays, feed.rows[piece], feed.labels[piece])
