"""Encoded images as an array of samples: uint8, channels last, decoded when rows are requested.

If images keep their own sizes, the array's height and width are unknown until the images are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.datasets.pixels.decoders import Encoded
from trtpipe.datasets.pixels.geometry import static_size
from trtpipe.spec.dataset import InputSpec

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype
    from trtpipe.datasets import Indices


@dataclass(frozen=True)
class ImageArray:
    """Images by number. `prepared` sets the preprocessing that an input declares."""

    names: Sequence[str]
    encoded: Callable[[int], Encoded]
    given: InputSpec
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False, compare=False)
    """Sizes from image headers, so that each header is read once."""

    def prepared(self, given: InputSpec) -> ImageArray:
        """The same images, for an input with this preprocessing."""
        return ImageArray(self.names, self.encoded, given)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Count, height, width, channels."""
        return len(self.names), *static_size(self.given), self.channels

    @property
    def channels(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.given.colour == "gray" else 3

    @property
    def dtype(self) -> Dtype:
        """Unsigned bytes."""
        return np.dtype(np.uint8)

    def rows(self, indices: Indices) -> Array:
        """The images at `indices`, which must have one size. Raises SpecError naming one that cannot be read."""
        return np.stack([self.encoded(int(index)).pixels(self.given) for index in indices])

    def whole(self) -> Array:
        """All of them."""
        return self.rows(range(len(self.names)))

    def shape_at(self, index: int) -> tuple[int, ...]:
        """Height, width and channels of one image, from its header."""
        if index not in self._sizes:
            self._sizes[index] = self.encoded(index).final_size(self.given)
        return *self._sizes[index], self.channels

    def name_of(self, index: int) -> str:
        """The image's file."""
        return f"'{self.names[index]}'"
