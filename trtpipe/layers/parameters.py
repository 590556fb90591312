"""Finds named weights in the files that a spec lists, checks them against a layer's needs, and counts them.

Independent of layers; problems have no place in the spec, which the caller adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.layers.values import FLOATS, INTEGERS, shape_text
from trtpipe.loader.grammar import choose_from, listed
from trtpipe.problem_codes import Code
from trtpipe.weights import NamedWeights, open_weights

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype


_HALF_A_BYTE = {"int4": INTEGERS, "float4_e2m1fn": (*FLOATS, "float8_e4m3fn")}
"""Types that few files of weights have, and those whose values stand for theirs where they are among them."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Weights that a layer needs: values, or their location in a file, row-major and little-endian."""

    name: str
    dtype: str
    dims: tuple[int, ...]
    array: Array | None = None
    location: tuple[Path, int] | None = None


@dataclass(slots=True)
class Parameters:
    """All weights by the names that layers use, and which of them were used."""

    files: Mapping[str, NamedWeights] = field(default_factory=dict)
    named: bool = False
    """Whether files have names, so that tensors are called `NAME:tensor`."""
    used: set[str] = field(default_factory=set)
    _owners: dict[str, tuple[NamedWeights, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        for key, file in self.files.items():
            for name in file.names:
                called = f"{key}:{name}" if self.named else name
                if called in self._owners:
                    fact = f"weights '{called}' are in two of the files"
                    problems.append(
                        Problem(
                            Code.WEIGHTS_TWICE, fact, "name the files: weights: {a: one.npz, b: other.npz}"
                        )
                    )
                self._owners[called] = (file, name)
        if problems:
            raise ModelError(problems[:1])

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a layer may use."""
        return tuple(self._owners)

    def use(self, name: str) -> None:
        """Marks weights as used."""
        self.used.add(name)

    def find(self, name: str) -> tuple[NamedWeights, str]:
        """The file that holds these weights, and their name in it. Raises ModelError."""
        self.use(name)
        if name in self._owners:
            return self._owners[name]
        remedy = (
            choose_from(name, self._owners, "weights") if self._owners else "name a file: weights: net.npz"
        )
        raise ModelError(Code.UNKNOWN_WEIGHTS, f"no weights '{name}'", remedy)

    def dims(self, name: str) -> tuple[int, ...] | None:
        """Their own dims; None when the file gives none. Raises ModelError."""
        file, own = self.find(name)
        return file.shape_of(own)

    def count(self, name: str) -> int:
        """How many elements they are. Raises ModelError."""
        file, own = self.find(name)
        return file.count_of(own)

    def dtype(self, name: str) -> str:
        """Their own data type. Raises ModelError."""
        file, own = self.find(name)
        return file.dtype_of(own)

    def take(self, name: str, dims: Sequence[int], dtype: str) -> Parameter:
        """The weights with these dims, in this type. Raises ModelError.

        Flat weights can have any dims with the same number of elements. Float types are cast to other float types, and
        integers to other integers if the values fit; both to 4-bit types if these hold the same values.
        """
        file, own = self.find(name)
        has = file.shape_of(own)
        count = file.count_of(own)
        flat = has is None or len(has) <= 1
        if count != math.prod(dims) or (not flat and has != tuple(dims)):
            shown = f"{count} elements" if has is None else shape_text(has)
            raise ModelError(
                Code.WEIGHTS_MISFIT, f"weights '{name}' are {shown} instead of {shape_text(dims)}"
            )
        source = file.dtype_of(own)
        if source == dtype:
            location = file.location(own)
            if location is not None:
                return Parameter(name, dtype, tuple(dims), None, location)
            return Parameter(name, dtype, tuple(dims), file.array(own).reshape(dims))
        return Parameter(name, dtype, tuple(dims), _cast(name, file.array(own), source, dtype).reshape(dims))

    def array(self, name: str, dims: Sequence[int], dtype: str) -> Array:
        """The values with these dims, in this type. Raises ModelError as `take` does."""
        taken = self.take(name, dims, dtype)
        if taken.array is not None:
            return taken.array
        file, own = self.find(name)
        return file.array(own).reshape(dims)

    def unused(self, ignored: Sequence[str], place: SpecPath) -> Iterator[Problem]:
        """A problem about weights that no layer uses and no glob of `ignored` matches."""
        left = [
            name
            for name in self._owners
            if name not in self.used and not any(fnmatchcase(name, glob) for glob in ignored)
        ]
        if left:
            fact = f"no layer uses the weights {listed([repr(name) for name in left])}"
            yield Problem(
                Code.WEIGHTS_UNUSED,
                fact,
                f"use them, or ignore them: ignore_weights: [{left[0]!r}]",
                path=place,
            )


def open_parameters(
    files: Mapping[str, Path], *, named: bool, root: Path | None, workplace: Path, place: SpecPath
) -> Parameters:
    """The weights of all files, each opened. Raises ModelError with every problem, at `place` or below it."""
    problems: list[Problem] = []
    opened: dict[str, NamedWeights] = {}
    for key, path in files.items():
        folder = workplace / f"weights-{len(opened)}"
        folder.mkdir()
        try:
            opened[key] = open_weights(path, root=root, workplace=folder)
        except ModelError as error:
            step = (int(key) if key.isdecimal() and not named else key,) if key else ()
            problems += [
                Problem(one.code, one.fact, one.remedy, path=(*place, *step)) for one in error.problems
            ]
    if problems:
        raise ModelError(problems)
    try:
        return Parameters(opened, named)
    except ModelError as error:
        raise ModelError(
            [Problem(one.code, one.fact, one.remedy, path=place) for one in error.problems]
        ) from error


def _cast(name: str, array: Array, source: str, dtype: str) -> Array:
    import numpy as np

    target = numpy_type(dtype)
    if source in FLOATS and dtype in FLOATS:
        with np.errstate(over="ignore"):
            return array.astype(target)
    if source in INTEGERS and dtype in INTEGERS:
        cast = array.astype(target)
        if np.array_equal(cast, array):
            return cast
    if source in _HALF_A_BYTE.get(dtype, ()):
        cast = array.astype(target)
        if np.array_equal(cast.astype(array.dtype), array):
            return cast
    raise ModelError(
        Code.WEIGHTS_MISFIT, f"weights '{name}' are {source} instead of {dtype}", "store them in that type"
    )


def numpy_type(dtype: str) -> Dtype:
    """The NumPy type for a data type's name; `bfloat16` and similar ones come from ml_dtypes."""
    import onnx

    from trtpipe.canonical.tensors import number_of_dtype

    found: Dtype = onnx.helper.tensor_dtype_to_np_dtype(number_of_dtype(dtype))
    return found
