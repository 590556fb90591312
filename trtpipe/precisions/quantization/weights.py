"""Quantized weights, computed one weight at a time when the model is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from trtpipe.precisions.casts.constants import shape_of
from trtpipe.precisions.quantization.formats import QuantizedType

if TYPE_CHECKING:
    from trtpipe.arrays import Array


def channel_amax(tensor: ir.TensorProtocol, axis: int | None, block: int = 0) -> Array:
    """The largest finite magnitude per channel, or of all elements: float32 of shape (channels,) or ().

    With a `block`, per `block` elements along `axis`: the result has the weight's shape, that axis divided by it.
    """
    magnitude = np.abs(tensor.numpy().astype(np.float32, copy=False))
    magnitude = np.where(np.isfinite(magnitude), magnitude, 0)
    if axis is not None and block:
        shape = magnitude.shape
        blocked = (*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :])
        return np.asarray(magnitude.reshape(blocked).max(axis=axis + 1), np.float32)
    others = None if axis is None else tuple(one for one in range(magnitude.ndim) if one != axis)
    return np.asarray(magnitude.max(axis=others, initial=0), np.float32)


class WeightScales:
    """A weight's scales as float32: one for all, one for each channel along `axis`, or one for each block along it.

    `made` computes them on first use, because it reads the weight and planning must not.
    """

    def __init__(
        self, source: ir.TensorProtocol, axis: int | None, block: int, made: Callable[[], Array]
    ) -> None:
        self.source, self.axis, self.block, self.made = source, axis, block, made

    @cached_property
    def values(self) -> Array:
        """The scales, of shape `shape`."""
        return self.made()

    @property
    def shape(self) -> tuple[int, ...]:
        """`()`, the number of channels, or the weight's shape with `axis` counted in blocks."""
        dims = tuple(int(dim) for dim in shape_of(self.source).numpy())
        if self.axis is None:
            return ()
        if self.block:
            return (*dims[: self.axis], dims[self.axis] // self.block, *dims[self.axis + 1 :])
        return (dims[self.axis],)

    def over(self, rank: int) -> Array:
        """The scales, shaped to divide a weight of that rank."""
        if self.axis is None:
            return self.values
        if self.block:
            return np.repeat(self.values, self.block, axis=self.axis)
        return self.values.reshape([-1 if one == self.axis else 1 for one in range(rank)])

    def constant(self, name: str) -> ir.LazyTensor:
        """The scales as a constant."""

        def tensor() -> ir.TensorProtocol:
            return ir.Tensor(self.values, dtype=ir.DataType.FLOAT, name=name)

        return ir.LazyTensor(tensor, dtype=ir.DataType.FLOAT, shape=ir.Shape(self.shape), name=name)


class QuantizedTensor(ir.LazyTensor):
    """A float weight divided by its scales and rounded."""

    def __init__(
        self, source: ir.TensorProtocol, kind: QuantizedType, scales: WeightScales, name: str
    ) -> None:
        super().__init__(self._made, dtype=kind.dtype, shape=shape_of(source), name=name)
        self.source, self.kind, self.scales = source, kind, scales

    def pieces(self) -> Iterator[Array]:
        """The elements in order, as ONNX stores them: two to a byte for 4-bit types."""
        yield np.frombuffer(self._made().tobytes(), np.uint8)

    def _array(self) -> Array:
        values = self.source.numpy().astype(np.float32, copy=False)
        return self.kind.rounded(values / self.scales.over(values.ndim))

    def _made(self) -> ir.TensorProtocol:
        return ir.Tensor(self._array(), dtype=self.dtype, name=self.name)
