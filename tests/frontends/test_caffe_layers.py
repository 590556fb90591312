"""Every layer of Caffe's catalogue gives what its formula says, at fixed sizes and at dynamic ones alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.frontends.caffe_files import evaluate, lower, net, run

Arrays = Sequence[np.ndarray]


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = values(2, 4, 7, 9)
ROWS = values(3, 6)


@dataclass(frozen=True)
class Case:
    """A layer from its type on, what it reads, its weights, and the formula of its tops."""

    layer: str
    formula: Callable[..., Any]
    inputs: Arrays = (X,)
    blobs: Arrays = ()
    tops: str = "y"
    dynamic: Sequence[int] = (0, 2, 3)
    """Axes of the first input that may be dynamic."""
    bottoms: str = field(default="")


def windows(
    x: np.ndarray, kernel: int, stride: int, pad: int, reduce: Callable, floor: bool = False
) -> np.ndarray:
    """pooling_layer.cpp, window by window; `reduce` sees the values and the number that Caffe divides by."""
    size = []
    for n in x.shape[2:]:
        exact = (n + 2 * pad - kernel) / stride
        out = (math.floor(exact) if floor else math.ceil(exact)) + 1
        if pad and (out - 1) * stride >= n + pad:
            out -= 1
        size.append(out)
    made = np.empty((*x.shape[:2], *size), np.float32)
    for i in range(size[0]):
        for j in range(size[1]):
            begin = [i * stride - pad, j * stride - pad]
            end = [min(b + kernel, n + pad) for b, n in zip(begin, x.shape[2:], strict=True)]
            area = (end[0] - begin[0]) * (end[1] - begin[1])
            inside = x[
                :, :, max(begin[0], 0) : min(end[0], x.shape[2]), max(begin[1], 0) : min(end[1], x.shape[3])
            ]
            made[:, :, i, j] = reduce(inside, area)
    return made


def maximum(inside: np.ndarray, area: int) -> np.ndarray:
    return inside.max(axis=(2, 3))


def average(inside: np.ndarray, area: int) -> np.ndarray:
    return inside.sum(axis=(2, 3)) / area


def convolve(
    x: np.ndarray, w: np.ndarray, stride=(1, 1), pad=(0, 0), dilation=(1, 1), group: int = 1
) -> np.ndarray:
    """A convolution by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    size = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True)]
    made = np.zeros((x.shape[0], w.shape[0], *size))
    outputs, into = w.shape[0] // group, w.shape[1]
    for o in range(w.shape[0]):
        first = o // outputs * into
        for i in range(size[0]):
            for j in range(size[1]):
                rows = slice(i * stride[0], i * stride[0] + reach[0], dilation[0])
                columns = slice(j * stride[1], j * stride[1] + reach[1], dilation[1])
                made[:, o, i, j] = (x[:, first : first + into, rows, columns] * w[o]).sum(axis=(1, 2, 3))
    return made


def deconvolve(x: np.ndarray, w: np.ndarray, stride: int, pad: int, group: int) -> np.ndarray:
    """Each value spreads the kernel."""
    k, outputs, into = w.shape[2], w.shape[1], w.shape[0] // group
    full = np.zeros((x.shape[0], outputs * group, *(stride * (n - 1) + k for n in x.shape[2:])))
    for c in range(w.shape[0]):
        to = slice(c // into * outputs, (c // into + 1) * outputs)
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                spread = x[:, c, i, j][:, None, None, None] * w[c][None]
                full[:, to, i * stride : i * stride + k, j * stride : j * stride + k] += spread
    return full[:, :, pad : full.shape[2] - pad, pad : full.shape[3] - pad]


def reorganised(x: np.ndarray, s: int) -> np.ndarray:
    """Darknet's reorg_cpu, index by index."""
    n, c, h, w = x.shape
    few = c // (s * s)
    flat, made = x.reshape(n, -1), np.empty((n, c * h * w), np.float32)
    for k in range(c):
        for j in range(h):
            for i in range(w):
                offset = k // few
                source = i * s + offset % s + w * s * (j * s + offset // s + h * s * (k % few))
                made[:, i + w * (j + h * k)] = flat[:, source]
    return made.reshape(n, c * s * s, h // s, w // s)


def interpolated(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, corners on corners."""
    rows, columns = np.linspace(0, x.shape[2] - 1, height), np.linspace(0, x.shape[3] - 1, width)
    by_row = np.stack(
        [x[:, :, int(r)] * (1 - r % 1) + x[:, :, min(int(r) + 1, x.shape[2] - 1)] * (r % 1) for r in rows], 2
    )
    parts = [
        by_row[..., int(c)] * (1 - c % 1) + by_row[..., min(int(c) + 1, x.shape[3] - 1)] * (c % 1)
        for c in columns
    ]
    return np.stack(parts, 3)


def top_of(x: np.ndarray, k: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-x, axis=axis).take(range(k), axis=axis)
    return order.astype(np.float32), np.take_along_axis(x, order, axis)


def lrn(x: np.ndarray, n: int, alpha: float, beta: float, k: float) -> np.ndarray:
    padded = np.pad(x**2, ((0, 0), (n // 2, n // 2), (0, 0), (0, 0)))
    sums = sum(padded[:, c : c + x.shape[1]] for c in range(n))
    return x / (k + alpha / n * sums) ** beta


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


CHANNELS = values(4, seed=1)
SPREAD = CHANNELS[:, None, None]
POSITIVE = np.abs(values(4, seed=2)) + 0.5
W = values(6, 2, 3, 2, seed=3)
VOLUME = values(1, 2, 5, 6, 7, seed=9)
W3 = values(3, 2, 2, 2, 2, seed=10)
INDEX = np.array([[0, 3], [2, 1]], np.float32)
TABLE = values(4, 5, seed=4)
CROP = values(2, 4, 3, 4, seed=5)
EIGHT = values(2, 8, 4, 6, seed=6)

CASES = {
    "AbsVal": Case('type: "AbsVal"', np.abs),
    "BNLL": Case('type: "BNLL"', lambda x: np.log1p(np.exp(x))),
    "Clip": Case('type: "Clip" clip_param { min: -0.5 max: 1 }', lambda x: x.clip(-0.5, 1)),
    "Dropout": Case('type: "Dropout" dropout_param { dropout_ratio: 0.4 }', lambda x: x),
    "ELU": Case('type: "ELU" elu_param { alpha: 0.3 }', lambda x: np.where(x > 0, x, 0.3 * np.expm1(x))),
    "Exp of e": Case('type: "Exp" exp_param { scale: 0.5 shift: 0.1 }', lambda x: np.exp(0.1 + 0.5 * x)),
    "Exp of 2": Case('type: "Exp" exp_param { base: 2 }', lambda x: 2.0**x),
    "Log": Case(
        'type: "Log" log_param { base: 10 scale: 2 shift: 1 }', lambda x: np.log10(1 + 2 * x), [np.abs(X)]
    ),
    "PReLU": Case('type: "PReLU"', lambda x: np.where(x > 0, x, SPREAD * x), blobs=[CHANNELS]),
    "PReLU, shared": Case(
        'type: "PReLU" prelu_param { channel_shared: true }', lambda x: np.where(x > 0, x, 0.3 * x),
        blobs=[np.float32([0.3])],
    ),
    "PReLU of rows": Case(
        'type: "PReLU"', lambda x: np.where(x > 0, x, 0.5 * x), [ROWS],
        [np.full(6, 0.5)], dynamic=(0,),
    ),
    "Power": Case(
        'type: "Power" power_param { power: 3 scale: 0.5 shift: 0.2 }', lambda x: (0.2 + 0.5 * x) ** 3
    ),
    "Power that changes nothing": Case('type: "Power"', lambda x: x),
    "ReLU": Case('type: "ReLU"', lambda x: x.clip(0)),
    "ReLU, leaking": Case('type: "ReLU" relu_param { negative_slope: 0.2 }', lambda x: np.where(x > 0, x, 0.2 * x)),
    "ReLU6": Case('type: "ReLU6"', lambda x: x.clip(0, 6), [X * 9]),
    "Sigmoid": Case('type: "Sigmoid"', sigmoid),
    "Swish": Case('type: "Swish" swish_param { beta: 1.5 }', lambda x: x * sigmoid(1.5 * x)),
    "TanH": Case('type: "TanH" tanh_param { engine: CAFFE }', np.tanh),
    "Threshold": Case('type: "Threshold" threshold_param { threshold: 0.3 }', lambda x: (x > 0.3) * 1.0),
    "Convolution": Case(
        """type: "Convolution" convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1
        pad_h: 1 pad_w: 2 dilation: 2 group: 2 weight_filler { type: "xavier" } }""",
        lambda x: convolve(x, W, (2, 1), (1, 2), (2, 2), 2) + np.arange(6)[:, None, None],
        blobs=[W, np.arange(6)],
    ),
    "Convolution in 3-D": Case(
        'type: "Convolution" convolution_param { num_output: 3 kernel_size: [2, 2, 2] bias_term: false }',
        lambda x: np.stack([
            sum(x[:, :, a : a + 4, b : b + 5, c : c + 6] * W3[o, :, a, b, c][None, :, None, None, None]
                for a in (0, 1) for b in (0, 1) for c in (0, 1)).sum(1)
            for o in range(3)], 1),
        [VOLUME], [W3], dynamic=(0, 2, 3, 4),
    ),
    "DepthwiseConvolution": Case(
        'type: "DepthwiseConvolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: false }',
        lambda x: convolve(x, values(4, 1, 3, 3, seed=8), pad=(1, 1), group=4),
        blobs=[values(4, 1, 3, 3, seed=8)],
    ),
    "Deconvolution": Case(
        'type: "Deconvolution" convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 }',
        lambda x: deconvolve(x, values(4, 3, 3, 3, seed=8), 2, 1, 2) + 1,
        blobs=[values(4, 3, 3, 3, seed=8), np.ones(6)],
    ),
    "Pooling, largest in all": Case(
        'type: "Pooling" pooling_param { global_pooling: true }', lambda x: x.max(axis=(2, 3), keepdims=True)
    ),
    "Pooling, mean of all": Case(
        'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
        lambda x: x.mean(axis=(2, 3), keepdims=True),
    ),
    "LRN": Case(
        'type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }', lambda x: lrn(x, 3, 0.5, 0.6, 2)
    ),
    "LRN within a channel": Case(
        'type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 norm_region: WITHIN_CHANNEL }',
        lambda x: x * (1 + 0.5 * windows(x**2, 3, 1, 1, average)) ** -0.6,
    ),
    "Concat": Case('type: "Concat"', lambda x, y: np.concatenate([x, y], 1), [X, values(2, 3, 7, 9)], dynamic=(0,)),
    "Concat by an old name": Case(
        'type: "Concat" concat_param { concat_dim: 0 }', lambda x, y: np.concatenate([x, y]), [X, X], dynamic=()
    ),
    "Slice": Case(
        'type: "Slice" slice_param { slice_point: 1 slice_point: 3 }',
        lambda x: (x[:, :1], x[:, 1:3], x[:, 3:]), tops="y z w",
    ),
    "Slice in equal parts": Case('type: "Slice"', lambda x: (x[:, :2], x[:, 2:]), tops="y z"),
    "Slice of a dynamic axis": Case(
        'type: "Slice" slice_param { axis: 2 slice_point: 3 }', lambda x: (x[:, :, :3], x[:, :, 3:]), tops="y z"
    ),
    "Split": Case('type: "Split"', lambda x: (x, x), tops="y z"),
    "Flatten": Case('type: "Flatten"', lambda x: x.reshape(2, -1)),
    "Flatten of two axes": Case(
        'type: "Flatten" flatten_param { axis: -2 end_axis: 3 }', lambda x: x.reshape(2, 4, -1)
    ),
    "Flatten of the first": Case(
        'type: "Flatten" flatten_param { axis: 0 end_axis: 1 }', lambda x: x.reshape(-1, 7, 9)
    ),
    "Reshape": Case(
        'type: "Reshape" reshape_param { shape { dim: 0 dim: 2 dim: -1 } }', lambda x: x.reshape(2, 2, -1)
    ),
    "Reshape of some axes": Case(
        'type: "Reshape" reshape_param { shape { dim: 2 dim: 2 } axis: 1 num_axes: 1 }',
        lambda x: x.reshape(2, 2, 2, 7, 9),
    ),
    "Reshape, an axis put in": Case(
        'type: "Reshape" reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }', lambda x: x[..., None]
    ),
    "Permute": Case('type: "Permute" permute_param { order: 0 order: 2 order: 3 }', lambda x: x.transpose(0, 2, 3, 1)),
    "Tile": Case('type: "Tile" tile_param { tiles: 3 }', lambda x: np.tile(x, (1, 3, 1, 1))),
    "Crop": Case(
        'type: "Crop" crop_param { axis: 2 offset: 1 offset: 2 }', lambda x, y: x[:, :, 1:4, 2:6], [X, CROP]
    ),
    "Crop from one offset": Case('type: "Crop"', lambda x, y: x[:, :, :3, :4], [X, CROP]),
    "ShuffleChannel": Case(
        'type: "ShuffleChannel" shuffle_channel_param { group: 2 }',
        lambda x: x.reshape(2, 2, 2, 7, 9).transpose(0, 2, 1, 3, 4).reshape(2, 4, 7, 9),
    ),
    "Upsample": Case('type: "Upsample" upsample_param { scale: 3 }', lambda x: x.repeat(3, 2).repeat(3, 3)),
    "Interp to a size": Case(
        'type: "Interp" interp_param { height: 12 width: 5 }', lambda x: interpolated(x, 12, 5)
    ),
    "Interp by a factor": Case(
        'type: "Interp" interp_param { zoom_factor: 2 }', lambda x: interpolated(x, 13, 17), dynamic=(0,)
    ),
    "Reorg": Case('type: "Reorg" reorg_param { stride: 2 }', lambda x: reorganised(x, 2), [EIGHT], dynamic=(0,)),
    "Eltwise, a sum": Case(
        'type: "Eltwise" eltwise_param { coeff: 1 coeff: -2 coeff: 0.5 }',
        lambda x, y, z: x - 2 * y + 0.5 * z, [X, X[::-1], X * 3], dynamic=(),
    ),
    "Eltwise, a product": Case('type: "Eltwise" eltwise_param { operation: PROD }', lambda x, y: x * y, [X, X * 3]),
    "Eltwise, the largest": Case(
        'type: "Eltwise" eltwise_param { operation: 2 }', np.maximum, [X, X[::-1]],
        dynamic=(),
    ),
    "Scale": Case(
        'type: "Scale" scale_param { bias_term: true }', lambda x: x * SPREAD + 2, blobs=[CHANNELS, np.full(4, 2.0)]
    ),
    "Scale of two axes": Case(
        'type: "Scale" scale_param { num_axes: 2 }', lambda x: x * values(4, 7, seed=3)[..., None],
        blobs=[values(4, 7, seed=3)], dynamic=(0, 3),
    ),
    "Scale by one number": Case(
        'type: "Scale" scale_param { num_axes: 0 }', lambda x: x * 2.5,
        blobs=[np.float32(2.5)],
    ),
    "Scale by a bottom": Case(
        'type: "Scale" scale_param { axis: 0 bias_term: true }',
        lambda x, y: x * y[..., None, None] + CHANNELS.reshape(1, 4, 1, 1),
        [X[:1], values(1, 4, seed=7)], [CHANNELS[None]], dynamic=(),
    ),
    "Bias": Case('type: "Bias"', lambda x: x + SPREAD, blobs=[CHANNELS]),
    "Bias by a bottom": Case(
        'type: "Bias" bias_param { axis: 2 }', lambda x, y: x + y, [X, values(7, 9)],
        dynamic=(0,),
    ),
    "InnerProduct": Case(
        'type: "InnerProduct" inner_product_param { num_output: 5 }',
        lambda x: x.reshape(2, -1) @ values(5, 252, seed=4).T + 1,
        blobs=[values(5, 252, seed=4), np.ones(5)], dynamic=(0,),
    ),
    "InnerProduct, transposed": Case(
        'type: "InnerProduct" inner_product_param { num_output: 5 transpose: true bias_term: false }',
        lambda x: x @ values(6, 5, seed=4), [ROWS], [values(6, 5, seed=4)], dynamic=(0,),
    ),
    "InnerProduct of the last axis": Case(
        'type: "InnerProduct" inner_product_param { num_output: 5 axis: -1 }',
        lambda x: x @ values(5, 9, seed=4).T + 2, blobs=[values(5, 9, seed=4), np.full(5, 2.0)], dynamic=(0, 2),
    ),
    "InnerProduct of all": Case(
        'type: "InnerProduct" inner_product_param { num_output: 3 axis: 0 }',
        lambda x: values(3, 504, seed=4) @ x.ravel() + 1, blobs=[values(3, 504, seed=4), np.ones(3)], dynamic=(),
    ),
    "Embed": Case(
        'type: "Embed" embed_param { input_dim: 4 num_output: 5 }',
        lambda x: TABLE[x.astype(int)] + np.arange(5), [INDEX], [TABLE, np.arange(5)], dynamic=(0,),
    ),
    "Reduction, a sum": Case(
        'type: "Reduction" reduction_param { axis: 1 coeff: 0.5 }', lambda x: 0.5 * x.sum(axis=(1, 2, 3))
    ),
    "Reduction to a number": Case('type: "Reduction" reduction_param { operation: MEAN }', np.mean),
    "Reduction of magnitudes": Case(
        'type: "Reduction" reduction_param { operation: ASUM axis: 2 }', lambda x: np.abs(x).sum(axis=(2, 3))
    ),
    "Reduction of squares": Case(
        'type: "Reduction" reduction_param { operation: SUMSQ axis: -1 }', lambda x: (x**2).sum(axis=3)
    ),
    "Softmax": Case('type: "Softmax"', lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "Softmax of another axis": Case(
        'type: "Softmax" softmax_param { axis: -1 }', lambda x: np.exp(x) / np.exp(x).sum(3, keepdims=True)
    ),
    "SoftmaxWithLoss": Case(
        'type: "SoftmaxWithLoss" loss_param { ignore_label: 255 }',
        lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True), bottoms='bottom: "a" bottom: "label"',
    ),
    "ArgMax": Case('type: "ArgMax"', lambda x: top_of(x.reshape(2, -1), 1, 1)[0].reshape(2, 1, 1, 1)),
    "ArgMax of rows": Case(
        'type: "ArgMax" argmax_param { top_k: 2 out_max_val: true }', lambda x: np.stack(top_of(x, 2, 1), 1), [ROWS],
        dynamic=(0,),
    ),
    "ArgMax along an axis": Case('type: "ArgMax" argmax_param { axis: 1 top_k: 2 }', lambda x: top_of(x, 2, 1)[0]),
    "ArgMax, the values": Case(
        'type: "ArgMax" argmax_param { axis: 1 out_max_val: true }', lambda x: x.max(axis=1, keepdims=True)
    ),
    "BatchNorm": Case(
        'type: "BatchNorm" batch_norm_param { eps: 0.01 use_global_stats: true }',
        lambda x: (x - SPREAD / 4) / np.sqrt(POSITIVE[:, None, None] / 4 + 0.01),
        blobs=[CHANNELS, POSITIVE, np.float32([4])],
    ),
    "BatchNorm of factor 0": Case(
        'type: "BatchNorm" batch_norm_param { eps: 0.25 }', lambda x: x / 0.5,
        blobs=[CHANNELS, POSITIVE, np.float32([0])],
    ),
    "BatchNorm of rows": Case(
        'type: "BatchNorm"', lambda x: (x - 1) / np.sqrt(2 + 1e-5), [ROWS], [np.ones(6), np.full(6, 2), np.ones(1)],
        dynamic=(0,),
    ),
    "BatchNorm of NVCaffe": Case(
        'type: "BatchNorm" batch_norm_param { scale_bias: true }',
        lambda x: (x - SPREAD) / np.sqrt(POSITIVE[:, None, None] + 1e-5) * 3 + SPREAD,
        blobs=[CHANNELS, POSITIVE, np.float32([7]), np.full(4, 3), CHANNELS],
    ),
    "MVN": Case(
        'type: "MVN" mvn_param { eps: 0.1 }',
        lambda x: (x - x.mean((2, 3), keepdims=True)) / (x.std((2, 3), keepdims=True) + 0.1),
    ),
    "MVN across channels, the mean": Case(
        'type: "MVN" mvn_param { across_channels: true normalize_variance: false }',
        lambda x: x - x.mean((1, 2, 3), keepdims=True),
    ),
    "Normalize": Case(
        'type: "Normalize" norm_param { across_spatial: false channel_shared: false }',
        lambda x: SPREAD * x / np.sqrt((x**2).sum(1, keepdims=True) + 1e-10), blobs=[CHANNELS],
    ),
    "Normalize across all": Case(
        'type: "Normalize" norm_param { eps: 0.5 }',
        lambda x: 2 * x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 0.5), blobs=[np.float32(2)],
    ),
}  # fmt: skip


def written(case: Case) -> str:
    bottoms = case.bottoms or " ".join(
        f'bottom: "{name}"' for name, _ in zip("abcdef", case.inputs, strict=False)
    )
    tops = " ".join(f'top: "{name}"' for name in case.tops.split())
    return f'layer {{ name: "l" {bottoms} {tops} {case.layer} }}'


def assert_follows(case: Case, outputs: dict[str, np.ndarray], inputs: Arrays) -> None:
    expected = case.formula(*(array.astype(np.float64) for array in inputs))
    expected = expected if isinstance(expected, tuple) else (expected,)
    for name, value in zip(case.tops.split(), expected, strict=True):
        assert outputs[name].shape == np.shape(value)
        np.testing.assert_allclose(outputs[name], value, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_layer_follows_its_formula(tmp_path, case):
    blobs = {"l": case.blobs} if len(case.blobs) else None

    outputs = evaluate(tmp_path, written(case), *case.inputs, blobs=blobs)

    assert_follows(case, outputs, case.inputs)


@pytest.mark.parametrize(
    "case", [c for c in CASES.values() if c.dynamic], ids=[k for k, c in CASES.items() if c.dynamic]
)
def test_it_does_so_whatever_the_dynamic_size(tmp_path, case):
    blobs = {"l": case.blobs} if len(case.blobs) else None
    shapes = [
        [
            -1 if axis in case.dynamic and array.ndim == case.inputs[0].ndim else dim
            for axis, dim in enumerate(array.shape)
        ]
        for array in case.inputs
    ]
    source = net(written(case), *(array.shape for array in case.inputs))

    lower(tmp_path, source, blobs, inputs=dict(zip("abcdef", shapes, strict=False)))

    outputs = run(tmp_path / "out" / "model.onnx", **dict(zip("abcdef", case.inputs, strict=False)))
    assert_follows(case, outputs, case.inputs)


POOLS = [
    (size, kernel, stride, pad)
    for size in (1, 2, 3, 4, 5, 6, 7, 8, 9, 13)
    for kernel in (1, 2, 3, 4, 5)
    for stride in (1, 2, 3, 4)
    for pad in range(min(kernel, 3))
    if math.ceil((size + 2 * pad - kernel) / stride) >= 0
    and not (pad == 0 and stride > kernel and math.ceil((size - kernel) / stride) * stride >= size)
]


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_pooling_has_caffes_windows_at_every_size(tmp_path, method, dynamic):
    reduce = maximum if method == "MAX" else average
    layers, shapes = [], {}
    for number, (size, kernel, stride, pad) in enumerate(POOLS):
        layers.append(
            f'input: "x{number}" input_dim: [1, 1, {size}, 5] layer {{ name: "p{number}" type: "Pooling" '
            f'bottom: "x{number}" top: "y{number}" pooling_param {{ pool: {method} kernel_h: {kernel} kernel_w: 2 '
            f"stride_h: {stride} stride_w: 1 pad_h: {pad} pad_w: 0 }} }}\n"
        )
        shapes[f"x{number}"] = (1, 1, -1, -1)
    x = {f"x{number}": values(1, 1, pool[0], 5, seed=number) for number, pool in enumerate(POOLS)}

    lower(tmp_path, "".join(layers), inputs=shapes if dynamic else {})

    outputs = run(tmp_path / "out" / "model.onnx", **x)
    for number, (_, kernel, stride, pad) in enumerate(POOLS):
        rows = pooled_rows(x[f"x{number}"], kernel, stride, pad, reduce)
        assert outputs[f"y{number}"].shape == rows.shape, POOLS[number]
        np.testing.assert_allclose(
            outputs[f"y{number}"], rows, rtol=1e-5, atol=1e-6, err_msg=str(POOLS[number])
        )


def pooled_rows(x: np.ndarray, kernel: int, stride: int, pad: int, reduce: Callable) -> np.ndarray:
    """Windows of `kernel` rows and 2 columns, no pad and stride 1 beside."""
    size = x.shape[2]
    count = math.ceil((size + 2 * pad - kernel) / stride) + 1
    if pad and (count - 1) * stride >= size + pad:
        count -= 1
    made = np.empty((1, 1, count, 4), np.float32)
    for i in range(count):
        begin = i * stride - pad
        end = min(begin + kernel, size + pad)
        for j in range(4):
            inside = x[:, :, max(begin, 0) : min(end, size), j : j + 2]
            made[:, :, i, j] = reduce(inside, (end - begin) * 2)
    return made


def test_pooling_rounds_down_where_it_is_told_to(tmp_path):
    layer = 'layer { name: "p" type: "Pooling" bottom: "a" top: "y" pooling_param { kernel_size: 2 stride: 2 %s } }'
    for told in ("round_mode: FLOOR", "ceil_mode: false"):
        outputs = evaluate(tmp_path, layer % told, X)
        np.testing.assert_array_equal(outputs["y"], windows(X, 2, 2, 0, maximum, floor=True))
