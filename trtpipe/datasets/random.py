"""random: seeded random samples, used only when the spec asks for them.

Sample i of input number k (in the order of sorted names) is drawn from numpy's PCG64 seeded with SeedSequence([seed, k,
i]): standard normal floats, integers in [low, high), booleans with equal probability; for an input with a range of its
own, integers in that range. The values depend neither on the batch size nor on how many samples are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locations import Files
from trtpipe.spec.dataset import DatasetSpec

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype
    from trtpipe.datasets import Indices

DEFAULT_SAMPLES = 8


@dataclass(frozen=True)
class RandomArray:
    """Samples that are drawn on request. `typed` sets the type of the model input."""

    shape: tuple[int, ...]
    dtype: Dtype
    seed: int
    number: int
    low: int
    high: int
    whole_numbers: bool
    """Whether floats are integers too."""
    one_by_one: bool
    """A sample is a whole batch, because its first axis is not of size 1, or it has no axis."""

    def typed(self, dtype: Dtype) -> RandomArray:
        """The same samples for an input of another type."""
        return replace(self, dtype=dtype)

    def rows(self, indices: Indices) -> Array:
        """The samples at `indices`."""
        import numpy as np

        drawn = [self._draw(int(index)) for index in indices]
        return np.stack(drawn) if drawn else np.zeros((0, *self.shape[1:]), self.dtype)

    def whole(self) -> Array:
        """All of it."""
        return self.rows(range(self.shape[0])) if self.shape else self._draw(0)

    def shape_at(self, index: int) -> tuple[int, ...]:
        """The dims of one sample."""
        return self.shape[1:]

    def name_of(self, index: int) -> str:
        """Samples are named by their numbers."""
        return f"sample {index}"

    def _draw(self, index: int) -> Array:
        import numpy as np

        bits = np.random.PCG64(np.random.SeedSequence([self.seed, self.number, index]))
        generator = np.random.Generator(bits)
        shape = self.shape[1:]
        kind = np.dtype(self.dtype).kind
        if kind == "b":
            return generator.integers(0, 2, shape).astype(bool)
        if kind in "iu" or self.whole_numbers:
            return generator.integers(self.low, self.high, shape).astype(self.dtype)
        return generator.standard_normal(shape, np.float32).astype(self.dtype)


def _files(spec: DatasetSpec, files: Files) -> Mapping[str, Path]:
    return {}


def _open(spec: DatasetSpec, files: Files, stack: ExitStack) -> Mapping[str, Source]:
    import numpy as np

    assert spec.random is not None, "the spec says that it is random"
    count = spec.samples or DEFAULT_SAMPLES
    given = spec.random
    found: dict[str, Source] = {}
    for number, (name, shape) in enumerate(sorted(given.shapes.items())):
        whole = shape[:1] != (1,)
        drawn = (count, *shape) if whole else (count, *shape[1:])
        float32 = np.dtype(np.float32)
        own = (given.ranges or {}).get(name)
        low, high = own or (given.low, given.high)
        found[name] = RandomArray(drawn, float32, spec.seed, number, low, high, own is not None, whole)
    return found


reader = Reader(version=1, files=_files, open=_open)
