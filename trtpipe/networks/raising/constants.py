"""Tensors of a network that hang on constants alone, as arrays: what a declared layer has as weights or numbers.

Followed are layers that keep the elements in their order, and casts; TensorRT's parser puts such ones behind a model's
constants to make their ranks equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.layering.parameters import numpy_type
from trtpipe.networks.lowering.scope import dtype_of

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.networks.network import Layer, ParsedNetwork

_KEEP_ORDER = ("SHUFFLE", "SQUEEZE", "UNSQUEEZE", "IDENTITY", "CAST")


@dataclass(frozen=True)
class Constants:
    """The constants of a network."""

    network: ParsedNetwork

    def array(self, name: str) -> Array | None:
        """The values of a tensor, in its own type; None where they are computed, or not known."""
        maker = self.network.producers.get(name)
        casts: list[str] = []
        seen = 0
        while maker is not None and maker.type in _KEEP_ORDER and _keeps_order(maker):
            seen += 1
            if seen > len(self.network.layers) or maker.inputs[0] is None:
                return None
            casts.append(self._dtype(maker.outputs[0]))
            maker = self.network.producers.get(maker.inputs[0])
        shape = self.network.tensors[name].shape
        if maker is None or maker.type != "CONSTANT" or shape is None:
            return None
        array = self.of_layer(maker)
        if array is None or array.size != math.prod(shape):
            return None
        for dtype in reversed(casts):
            array = array.astype(numpy_type(dtype), copy=False)
        return array.reshape(shape)

    def of_layer(self, layer: Layer) -> Array | None:
        """The values of a constant layer, in its dims; None when they are not known."""
        ref, shape = layer.weights.get("weights"), self.network.tensors[layer.outputs[0]].shape
        if ref is None or shape is None or ref.count != math.prod(shape):
            return None
        dtype = numpy_type(dtype_of(ref.dtype))
        values: Array = self.network.contents.values(ref).astype(dtype, copy=False)
        return values.reshape(shape)

    def _dtype(self, name: str) -> str:
        return dtype_of(self.network.tensors[name].dtype)


def _keeps_order(layer: Layer) -> bool:
    """Whether the elements stay in their order; a shuffle may move them."""
    if layer.type != "SHUFFLE":
        return True
    orders = (layer.attributes.get(name) for name in ("first_transpose", "second_transpose"))
    return all(isinstance(one, tuple) and one == tuple(range(len(one))) for one in orders)
