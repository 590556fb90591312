"""Combines the arrays of all sources of a data set, and finds the one for each input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import chain

import numpy as np

from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locations import Files
from trtpipe.datasets.pixels.arrays import ImageArray
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import DatasetSpec, InputSpec


def opened(
    spec: DatasetSpec, readers: Mapping[str, Reader], files: Files, stack: ExitStack
) -> Mapping[str, Source]:
    """The arrays of all sources by name. Raises SpecError."""
    kinds: dict[str, str] = {}
    found: list[Mapping[str, Source]] = []
    for kind, reader in readers.items():
        arrays = reader.open(spec, files, stack)
        twice = next((name for name in arrays if name in kinds), None)
        if twice is not None:
            fact = f"array '{twice}' is in {kinds[twice]} and in {kind}"
            raise SpecError(
                Problem(Code.WEIGHTS_TWICE, fact, "give each array a name of its own", path=(kind,))
            )
        kinds |= dict.fromkeys(arrays, kind)
        found.append(arrays)
    return found[0] if len(found) == 1 else _Joined(found)


class _Joined(Mapping[str, Source]):
    """Several mappings with different names as one; a value is looked up on access."""

    def __init__(self, parts: list[Mapping[str, Source]]) -> None:
        self.parts = parts

    def __getitem__(self, name: str) -> Source:
        for part in self.parts:
            if name in part:
                return part[name]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(name in part for part in self.parts)

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def array_of(spec: DatasetSpec, name: str, sources: Mapping[str, Source]) -> str:
    """The array for an input: the one it names, the one with the input's own name, or the set's only images."""
    given = spec.inputs.get(name)
    if given is not None and given.array is not None:
        return given.array
    images = list(spec.images or {})
    return images[0] if name not in sources and len(images) == 1 else name


def own_inputs(spec: DatasetSpec, sources: Mapping[str, Source]) -> tuple[TensorInfo, ...]:
    """The inputs that a data set declares, or else its arrays; of any rank, in the type after preprocessing."""
    names = list(spec.inputs) or [name for name in sources if name != spec.labels]
    return tuple(TensorInfo(name, _own_type(spec, sources, name), None) for name in names)


def _own_type(spec: DatasetSpec, sources: Mapping[str, Source], name: str) -> str:
    given = spec.inputs.get(name) or InputSpec()
    array = array_of(spec, name, sources)
    if given.dtype or array not in sources:
        return given.dtype or "float32"
    source = sources[array]
    if isinstance(source, ImageArray):
        return "float32"
    neutral = given.scale == 1.0 and set(given.mean) == {0.0} and set(given.std) == {1.0}
    has = np.dtype(source.dtype)
    return has.name if neutral or has.kind not in "iub" else "float32"
