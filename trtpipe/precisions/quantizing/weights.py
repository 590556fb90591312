"""Quantized weights: made when they are written, one weight at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from trtpipe.precisions.casting.constants import shape_of
from trtpipe.precisions.quantizing.formats import QuantizedType

Array = Any


def channel_amax(tensor: ir.TensorProtocol, axis: int | None, block: int = 0) -> Array:
    """The largest finite magnitude of each channel, or of all: float32 of shape (channels,) or ().

    With a `block`, of each run of that many elements along `axis`: the weight's shape, that axis divided by it.
    """
    magnitude = np.abs(tensor.numpy().astype(np.float32, copy=False))
    magnitude = np.where(np.isfinite(magnitude), magnitude, 0)
    if axis is not None and block:
        shape = magnitude.shape
        blocked = (*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :])
        return magnitude.reshape(blocked).max(axis=axis + 1).astype(np.float32)
    if axis is None:
        return np.float32(magnitude.max(initial=0))
    others = tuple(one for one in range(magnitude.ndim) if one != axis)
    return magnitude.max(axis=others, initial=0).astype(np.float32)


class QuantizedTensor(ir.LazyTensor):
    """A float weight divided by its scales and rounded."""

    def __init__(
        self,
        source: ir.TensorProtocol,
        kind: QuantizedType,
        scale: Array,
        axis: int | None,
        name: str,
        block: int = 0,
    ) -> None:
        super().__init__(self._made, dtype=kind.dtype, shape=shape_of(source), name=name)
        self.source, self.kind, self.scale, self.axis, self.block = source, kind, scale, axis, block

    def pieces(self) -> Iterator[Array]:
        """The elements in order, as ONNX stores them: two to a byte when they have four bits."""
        yield np.frombuffer(self._made().tobytes(), np.uint8)

    def _array(self) -> Array:
        values = self.source.numpy().astype(np.float32, copy=False)
        scale = self.scale
        if self.axis is not None and self.block:
            scale = np.repeat(scale, self.block, axis=self.axis)
        elif self.axis is not None:
            scale = scale.reshape([-1 if one == self.axis else 1 for one in range(values.ndim)])
        return self.kind.rounded(values / scale)

    def _made(self) -> ir.TensorProtocol:
        return ir.Tensor(self._array(), dtype=self.dtype, name=self.name)
