"""The normalization layer as a declared one: over the last axes, per channel, or over groups of channels.

TensorRT has the axes as a mask, and scale and bias as tensors that broadcast to the input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trtpipe.spec.network.reductions import Normalization

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.canonical.summary import Dim
    from trtpipe.networks.raised.layers import Fields, Raised, Raising


def normalization(one: Raising) -> Raised:
    """The declared normalization that matches the axes, the groups and the scale's dims."""
    at = one.at
    x, axes, groups = at.read(0), at.axes_in("axes"), at.whole("num_groups")
    rank = at.rank(x)
    weights = [one.array(1, "scale"), one.array(2, "bias")]
    fields: Fields = {"input": x.name, "epsilon": at.number("epsilon")}
    channels = at.dims(x)[1] if rank > 1 else None
    of_channels = axes == list(range(2, rank)) and all(_each(array, channels, rank) for array in weights)
    if groups > 1:
        if not of_channels or at.parsed.attributes.get("is_v2", True) is False:
            at.refuse(f"has {groups} groups, and not one scale for each channel")
        return Normalization, {**fields, "type": "group", "num_groups": groups, **_flat(weights)}
    if of_channels:
        return Normalization, {**fields, "type": "instance", **_flat(weights)}
    if axes != list(range(rank - len(axes), rank)):
        at.refuse(f"is over axes {axes} of {rank}: a declared layer is over the last ones")
    dims = [at.size(x, axis, f"axis {axis}") for axis in axes]
    shaped = [_in(array, dims) for array in weights]
    if None in [None if array is None else 0 for array in shaped]:
        at.refuse("has a scale or bias of other dims than the axes that it is over")
    names = dict(zip(("scale", "bias"), shaped, strict=True))
    return Normalization, {**fields, "type": "layer", "axes": tuple(axes), **names}


def _each(array: Array, channels: Dim, rank: int) -> bool:
    """Whether a tensor has one number per channel."""
    return array.ndim == rank and array.size == channels == array.shape[1]


def _flat(weights: list[Array]) -> Fields:
    return {name: array.reshape(-1) for name, array in zip(("scale", "bias"), weights, strict=True)}


def _in(array: Array, dims: list[int]) -> Array | None:
    """Weights with the dims of the normalized axes, if all axes before have length 1; None otherwise."""
    own = array.shape[-len(dims) :]
    if math.prod(own) != array.size or array.size != math.prod(dims):
        return None
    return array.reshape(dims)
