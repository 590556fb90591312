"""Quantize and dequantize layers: per tensor, per axis or in blocks.

The scale is a constant, as TensorRT requires.
"""

from __future__ import annotations

from typing import Literal

from trtpipe.spec.network.fields import FloatType, OneInput, Sizes, WeightRef


class _Scaled(OneInput):
    """Fields that both layers have."""

    scale: WeightRef
    """One number for the tensor, one for each element of `axis`, or one for each block."""
    zero_point: WeightRef | None = None
    """The zero point, of the scale's shape; TensorRT supports only zeros, which are the default."""
    axis: int | None = None
    """The axis of a 1-D scale; default: the first axis."""
    block_shape: Sizes | None = None
    """The block's length on each axis of the input, 1 on all but one: [1, 32]."""


class Quantize(_Scaled):
    """TensorRT's add_quantize, IQuantizeLayer → ONNX QuantizeLinear; keeps the shape.

    clamp(round(x / scale) + zero_point), halves rounded to even.
    """

    layer: Literal["quantize"]
    """Always `quantize`."""
    to_type: Literal["int8", "fp8", "int4", "fp4"] = "int8"
    """The output's data type."""


class Dequantize(_Scaled):
    """TensorRT's add_dequantize, IDequantizeLayer → ONNX DequantizeLinear; keeps the shape.

    (x - zero_point) * scale.
    """

    layer: Literal["dequantize"]
    """Always `dequantize`."""
    to_type: FloatType = "float32"
    """The output's data type, which is the scale's."""
