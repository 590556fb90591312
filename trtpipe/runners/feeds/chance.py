"""Random inputs from a seed: standard normal floats, integers 0 and 1. Results state that they were used.

The numbers depend only on the seed and on the inputs' names, types and shapes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.feeds import Feed, converted
from trtpipe.runners.feeds.signature import Signature
from trtpipe.runners.inference.tensors import element_type
from trtpipe.shapes import Shape, format_shape, format_size

if TYPE_CHECKING:
    from trtpipe.arrays import Array

MOST_BYTES = 8 << 30
"""Limit for all inputs as float32, because they are held in memory."""


def random_feed(
    signature: Signature, shapes: Mapping[str, Shape], values: Mapping[str, tuple[int, ...]], seed: int
) -> Feed:
    """One run's inputs in these shapes; shape tensors hold `values`. Raises SpecError where a shape is unknown."""
    unknown = [name for name in signature.names if name not in shapes and name not in values]
    if unknown:
        listed = ", ".join(repr(name) for name in unknown)
        raise SpecError(
            Code.INPUT_SHAPE_UNKNOWN,
            f"the shape is not known of input {listed}",
            "say --shape NAME=1x3x224x224",
        )
    total = sum(4 * math.prod(shapes[name]) for name in signature.names if name in shapes)
    if total > MOST_BYTES:
        listed = ", ".join(f"'{name}' {format_shape(shape)}" for name, shape in shapes.items())
        raise SpecError(
            Code.DATA_TOO_LARGE,
            f"inputs of {listed} take {format_size(total)}, more than {format_size(MOST_BYTES)}",
            "ask for smaller shapes",
        )
    return Feed({info.name: _drawn(info, shapes, values, seed) for info in signature.inputs})


def _drawn(
    info: TensorInfo, shapes: Mapping[str, Shape], values: Mapping[str, tuple[int, ...]], seed: int
) -> Array:
    import numpy as np

    try:
        kind = element_type(info.dtype)
    except TypeError as error:
        raise SpecError(
            Code.INPUT_TYPE, f"input '{info.name}' is {info.dtype}, which cannot be fed here"
        ) from error
    if info.name in values:
        return np.asarray(values[info.name]).astype(kind).reshape(shapes.get(info.name, (-1,)))
    entropy = [seed, *info.name.encode(errors="surrogateescape")]
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
    shape = shapes[info.name]
    if "float" in info.dtype:
        return converted(random.standard_normal(shape, np.float32), kind)
    return random.integers(0, 2, shape, np.int8).astype(kind)
