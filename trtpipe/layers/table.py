"""The table of lowering functions by layer, with the minimum opset that each needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trtpipe.canonical.opsets import CHOSEN
from trtpipe.layers import plugin as plugins
from trtpipe.layers import pointwise, quantization, recurrent, reductions, shapes, slices, spatial
from trtpipe.layers.scope import Scope
from trtpipe.spec.network import pointwise as points
from trtpipe.spec.network import quantization as quantized
from trtpipe.spec.network import recurrent as steps
from trtpipe.spec.network import reductions as reduced
from trtpipe.spec.network import shape_layers as shaped
from trtpipe.spec.network import spatial as spaces
from trtpipe.spec.network.fields import Declared
from trtpipe.spec.network.plugin import Plugin

Lower = Callable[[Any, Scope], list[str]]
"""Lowers a layer of one class, which is its key below."""

LOWERINGS: Mapping[type[Declared], Lower] = {
    spaces.Convolution: spatial.convolution,
    spaces.Deconvolution: spatial.deconvolution,
    spaces.Pooling: spatial.pooling,
    spaces.FullyConnected: spatial.fully_connected,
    spaces.Padding: spatial.padding,
    spaces.LRN: spatial.lrn,
    spaces.Resize: spatial.resize,
    spaces.GridSample: spatial.grid_sample,
    points.Activation: pointwise.activation,
    points.ParametricReLU: pointwise.parametric_relu,
    points.Scale: pointwise.scale,
    points.ElementWise: pointwise.elementwise,
    points.Unary: pointwise.unary,
    points.Cast: pointwise.cast,
    points.Select: pointwise.select,
    points.Identity: pointwise.identity,
    shaped.Shuffle: shapes.shuffle,
    shaped.Squeeze: shapes.squeeze,
    shaped.Unsqueeze: shapes.unsqueeze,
    shaped.Flatten: shapes.flatten,
    shaped.Concatenation: shapes.concatenation,
    shaped.Slice: slices.slice_,
    shaped.Gather: shapes.gather,
    shaped.Scatter: shapes.scatter,
    shaped.ReverseSequence: shapes.reverse_sequence,
    shaped.OneHot: shapes.one_hot,
    shaped.NonZero: shapes.non_zero,
    shaped.Shape: shapes.shape,
    shaped.Constant: shapes.constant,
    shaped.Fill: shapes.fill,
    reduced.Reduce: reductions.reduce,
    reduced.SoftMax: reductions.softmax,
    reduced.TopK: reductions.topk,
    reduced.Cumulative: reductions.cumulative,
    reduced.MatrixMultiply: reductions.matrix_multiply,
    reduced.Einsum: reductions.einsum,
    reduced.Normalization: reductions.normalization,
    reduced.Attention: reductions.attention,
    reduced.NMS: reductions.nms,
    steps.RNN: recurrent.rnn,
    steps.GRU: recurrent.gru,
    steps.LSTM: recurrent.lstm,
    quantized.Quantize: quantization.quantize,
    quantized.Dequantize: quantization.dequantize,
    Plugin: plugins.plugin,
}


def least_opset(layers: Iterable[Declared], inputs: Iterable[str] = ()) -> int:
    """The lowest opset that can express all these layers with inputs of these types; CHOSEN if any can."""
    return max([CHOSEN, *map(_least, layers), *map(_least_for_type, inputs)])


def _least(layer: Declared) -> int:
    match layer:
        case (
            points.Activation(type="gelu_erf" | "gelu_tanh") | points.Unary(op="isinf") | spaces.GridSample()
        ):
            return 20
        case reduced.Normalization(type="group"):
            return 21
        case reduced.Normalization(type="rms") | reduced.Attention(norm_op="softmax"):
            return 23
        case shaped.Slice(mode="wrap"):
            return 19
        case quantized.Quantize() | quantized.Dequantize():
            blocked = 21 if layer.block_shape else 19
            return max(blocked, _least_for_type(layer.to_type))
        case points.Cast():
            return _least_for_type(layer.to_type)
        case shaped.Constant():
            return _least_for_type(layer.dtype or "")
    return CHOSEN


def _least_for_type(dtype: str) -> int:
    return {"fp4": 23, "bfloat16": 22, "int4": 21, "fp8": 19}.get(dtype, CHOSEN)
