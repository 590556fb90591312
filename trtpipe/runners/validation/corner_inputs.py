"""Inputs for the corners of a profile, made from the data set's own samples by repeating and cropping them.

Random numbers would not be useful: a network's output for noise says little about its precision, and masks, lengths and
indices need meaningful values. Independent of models and runners.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.shapes import Shape

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype

_MOST_BATCHES = 64


@dataclass(frozen=True, slots=True)
class CornerInputs:
    """One or more corners with the same shapes and values."""

    place: str
    shapes: Mapping[str, Shape]
    values: Mapping[str, tuple[int, ...]]
    profile: int = 0
    """The profile that they are corners of."""


def impossible_at(corner: CornerInputs, why: Problem) -> Problem:
    """The message for a corner at which the model itself does not run, with the wording of `check`."""
    at = corner.place.partition(" at ")[2]
    fact = f"profile {corner.profile} is impossible at {at}: {why.fact}"
    remedy = "give a profile that leaves such shapes out, or export the model so that it takes them"
    return Problem(Code.PROFILE_IMPOSSIBLE, fact, remedy, path=("profiles", corner.profile))


def gather_rows(batches: Iterable[tuple[Mapping[str, Array], object]], rows: int) -> dict[str, Array]:
    """Inputs with up to `rows` samples each, put together from the first batches.

    An input whose first axis does not count samples (a constant, a state) is taken from the first batch.
    """
    found: list[Mapping[str, Array]] = []
    count = 0
    for inputs, _ in batches:
        found.append(inputs)
        count += max((array.shape[0] for array in inputs.values() if array.ndim), default=1)
        if count >= rows or len(found) >= _MOST_BATCHES:
            break
    return {name: _joined([inputs[name] for inputs in found]) for name in (found[0] if found else ())}


def _joined(arrays: list[Array]) -> Array:
    first = arrays[0]
    same = all(array.shape == first.shape and np.array_equal(array, first) for array in arrays)
    fits = first.ndim and all(array.shape[1:] == first.shape[1:] for array in arrays)
    return first if same or not fits else np.concatenate(arrays)


def fitted(array: Array, shape: Shape) -> Array:
    """The array brought to `shape`: each axis repeated from its start, or cropped. The ranks must be equal."""
    if 0 in array.shape and 0 not in shape:
        return np.zeros(shape, array.dtype)
    made = array
    for axis, size in enumerate(shape):
        if made.shape[axis] != size:
            made = np.take(made, np.arange(size) % max(made.shape[axis], 1), axis=axis)
    return np.ascontiguousarray(made).reshape(shape)


def corner_feed(
    samples: Mapping[str, Array], corner: CornerInputs, dtypes: Mapping[str, Dtype]
) -> dict[str, Array]:
    """Inputs by name at one corner; shape tensors hold the profile's values, in the input's own type."""
    feed = {name: fitted(array, corner.shapes.get(name, array.shape)) for name, array in samples.items()}
    for name, values in corner.values.items():
        shape = corner.shapes.get(name, (len(values),))
        feed[name] = np.asarray(values, dtypes[name]).reshape(shape)
    return feed
