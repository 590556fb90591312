"""Inputs of a pipeline's model as they are before the reshape and the cast that a bundle puts in front of them.

A member of a bundle is built with these layers, so its engine and its network take what the member before it yields;
its pipeline's data set and recording have what the model itself takes. A reshape keeps every element, so it is undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.json_values import JsonObject, integers_in, object_in, objects_in, text_in
from trtpipe.runners.inference.tensors import element_type

if TYPE_CHECKING:
    from trtpipe.arrays import Array


def inputs_before(graft: JsonObject | None, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs, with those that the graft changes as they are before it. Raises Malformed."""
    prepended = object_in(graft, "prepend") if graft is not None else {}
    return {
        name: _before(object_in(prepended, name), array) if name in prepended else array
        for name, array in inputs.items()
    }


def _before(entry: JsonObject, array: Array) -> Array:
    if any("reshape_dims" in layer for layer in objects_in(entry, "layers")):
        array = np.reshape(array, integers_in(entry, "shape"))
    return array.astype(element_type(text_in(entry, "dtype")))
