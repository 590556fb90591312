"""Quantize and dequantize layers as declared ones, with scales as weights and zero points of zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.networks.lowering.quantization import lengths_of_blocks
from trtpipe.networks.lowering.scope import dtype_of
from trtpipe.spec.network.quantization import Dequantize, Quantize

if TYPE_CHECKING:
    from trtpipe.networks.raised.layers import Fields, Raised, Raising


def quantize(one: Raising) -> Raised:
    """The scale has the input's type."""
    at = one.at
    x, scale = at.read(0), at.read(1)
    if x.dtype != scale.dtype:
        at.refuse(f"has a scale of {scale.dtype} for {x.dtype}: a declared layer has one of the input's type")
    return Quantize, {**_scaled(one), "to_type": one.dtype(at.text("to_type"))}


def dequantize(one: Raising) -> Raised:
    """The scale has the output's type."""
    at = one.at
    scale, made = at.read(1), dtype_of(at.text("to_type"))
    if scale.dtype != made:
        at.refuse(f"has a scale of {scale.dtype} and makes {made}: a declared layer makes the scale's type")
    return Dequantize, {**_scaled(one), "to_type": made}


def _scaled(one: Raising) -> Fields:
    at = one.at
    x, scale = at.read(0), one.array(1, "scale")
    if at.maybe(2) and one.array(2, "zero point").astype("float32").any():
        at.refuse("has a zero point that is not zero")
    fields: Fields = {"input": x.name, "scale": scale.reshape(()) if scale.shape == (1,) else scale}
    if scale.ndim == 1 and scale.shape != (1,):
        axis = at.whole("axis")
        fields["axis"] = axis if axis >= 0 else 0
    elif scale.ndim > 1:
        fields["block_shape"] = tuple(lengths_of_blocks(at, x, at.read(1)))
    return fields
