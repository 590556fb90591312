"""Resizes arrays of pixels without antialiasing: the filter has the same width at every scale.

The centre of pixel i of n, made from m, lies at (i + 0.5) * m / n - 0.5 in the source; bilinear weights the two pixels
around it, bicubic the four (Keys' kernel, "Cubic convolution interpolation for digital image processing", 1981, with a
= -0.75); beyond the border the outermost pixel is repeated. OpenCV's INTER_LINEAR and INTER_CUBIC do the same, except
for the rounding of their fixed-point weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtpipe.arrays import Array

_A = -0.75


def resample(pixels: Array, size: tuple[int, int], interpolation: str) -> Array:
    """The uint8 pixels (height, width, channels) resized to `size`, rounded to uint8."""
    made = pixels
    for axis, wanted in enumerate(size):
        if made.shape[axis] != wanted:
            made = _along(made, axis, wanted, interpolation)
    return made if made is pixels else np.clip(np.rint(made), 0, 255).astype(np.uint8)


def _along(pixels: Array, axis: int, wanted: int, interpolation: str) -> Array:
    count = pixels.shape[axis]
    centre = (np.arange(wanted) + 0.5) * count / wanted - 0.5
    first = np.floor(centre).astype(np.int64)
    taps = (0, 1) if interpolation == "bilinear" else (-1, 0, 1, 2)
    shape = [-1 if dim == axis else 1 for dim in range(pixels.ndim)]
    total: Array = np.zeros((), np.float32)
    for tap in taps:
        weights = _kernel(np.abs(centre - (first + tap)), interpolation).astype(np.float32)
        taken = np.take(pixels, np.clip(first + tap, 0, count - 1), axis=axis)
        total = total + taken * weights.reshape(shape)
    return total


def _kernel(distance: NDArray[np.float64], interpolation: str) -> NDArray[np.float64]:
    if interpolation == "bilinear":
        return np.maximum(1 - distance, 0)
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * _A - 4 * _A
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
