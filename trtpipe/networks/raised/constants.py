"""Tensors of a network that depend on constants alone, as arrays: a declared layer's weights or numbers.

Layers that keep the elements in their order, and casts, are evaluated: TensorRT's parser adds them after a model's
constants to make ranks equal. So is arithmetic on a few integers, with which the parser computes the dims of slices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.layers.parameters import numpy_type
from trtpipe.networks.lowering.scope import dtype_of

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.networks.network import Layer, ParsedNetwork

_OF_NUMBERS = ("ELEMENTWISE", "CONCATENATION")
_OPERATIONS = {
    "SUM": np.add, "SUB": np.subtract, "PROD": np.multiply, "MAX": np.maximum, "MIN": np.minimum,
    "FLOOR_DIV": np.floor_divide,
}  # fmt: skip
_FEW, _DEEPEST = 64, 64
_KEEP_ORDER = ("SHUFFLE", "SQUEEZE", "UNSQUEEZE", "IDENTITY", "CAST")


@dataclass(frozen=True)
class Constants:
    """The constants of a network."""

    network: ParsedNetwork
    _known: dict[str, Array | None] = field(default_factory=dict)

    def array(self, name: str) -> Array | None:
        """The values of a tensor, in its own type; None where they are computed, or not known."""
        return self._array(name, _DEEPEST)

    def _array(self, name: str, depth: int) -> Array | None:
        if name not in self._known and depth:
            maker = self.network.producers.get(name)
            made = None if maker is None else self._made(maker, depth - 1)
            shape = self.network.tensors[name].shape
            fits = made is not None and shape is not None and made.size == math.prod(shape)
            self._known[name] = (
                made.reshape(shape) if fits and made is not None and shape is not None else None
            )
        return self._known.get(name)

    def _made(self, layer: Layer, depth: int) -> Array | None:
        """The result of a layer on constants, without its dims."""
        if layer.type == "CONSTANT":
            return self.of_layer(layer)
        if layer.type not in (*_KEEP_ORDER, *_OF_NUMBERS) or not _keeps_order(layer):
            return None
        names = layer.inputs[:1] if layer.type in _KEEP_ORDER else layer.inputs
        arrays = [None if name is None else self._array(name, depth) for name in names]
        known = [array for array in arrays if array is not None]
        if not known or len(known) < len(arrays):
            return None
        dtype = numpy_type(dtype_of(self.network.tensors[layer.outputs[0]].dtype))
        if layer.type in _KEEP_ORDER:
            return known[0].astype(dtype, copy=False)
        return _numbers_of(layer, known)

    def of_layer(self, layer: Layer) -> Array | None:
        """The values of a constant layer, in its dims; None when they are not known."""
        ref, shape = layer.weights.get("weights"), self.network.tensors[layer.outputs[0]].shape
        if ref is None or shape is None or ref.count != math.prod(shape):
            return None
        dtype = numpy_type(dtype_of(ref.dtype))
        values: Array = self.network.contents.values(ref).astype(dtype, copy=False)
        return values.reshape(shape)


def _numbers_of(layer: Layer, arrays: list[Array]) -> Array | None:
    """The result of arithmetic on a few integers, with which the parser computes dims; None for anything else."""
    if any(array.dtype.kind != "i" or array.size > _FEW for array in arrays):
        return None
    if layer.type == "CONCATENATION":
        return np.concatenate(arrays) if all(array.ndim == 1 for array in arrays) else None
    operation = _OPERATIONS.get(str(layer.attributes.get("op")))
    if operation is None or (operation is np.floor_divide and not arrays[1].all()):
        return None
    made: Array = operation(*arrays)
    return made


def _keeps_order(layer: Layer) -> bool:
    """Whether the elements stay in their order; a shuffle may move them."""
    if layer.type != "SHUFFLE":
        return True
    orders = (layer.attributes.get(name) for name in ("first_transpose", "second_transpose"))
    return all(isinstance(one, tuple) and one == tuple(range(len(one))) for one in orders)
