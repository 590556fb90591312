"""Normalization layers: batch normalization, MVN and SSD's Normalize."""

from __future__ import annotations

from trtpipe.frontends.caffe_format.layer import Layer, Lowering, Tensor

_NVCAFFE_BLOBS = 5


def _batch_norm(layer: Layer) -> Tensor:
    """(x - mean / f) / sqrt(variance / f + eps); blobs are mean, variance and f, and f = 0 means zeros.

    NVCaffe writes five blobs: mean, variance, one that its inference does not use, scale and bias, unscaled.
    """
    import numpy as np

    x, dims, params = layer.only_input(), layer.dims(), layer.params("batch_norm_param")
    params.ignore("moving_average_fraction", "scale_bias")
    if len(dims) < 2:
        raise layer.refuse("its bottom has no channel axis")
    if not params.flag("use_global_stats", True):
        remedy = "remove use_global_stats: false, so that the trained mean and variance are used"
        raise params.refuse(
            "use_global_stats", "a deployed net cannot compute statistics of its batch", remedy
        )
    channels = layer.fixed(dims, 1, 2, "a batch normalization's number of channels")
    mean, variance = (layer.array(index, [channels], name) for index, name in enumerate(("mean", "variance")))
    factor = float(layer.array(2, [1], "scale factor")[0])
    scale, bias = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    if len(layer.blobs) == _NVCAFFE_BLOBS:
        scale, bias = (layer.array(index, [channels], name) for index, name in ((3, "scale"), (4, "bias")))
    else:
        with np.errstate(all="ignore"):
            inverse = np.float32(1.0 / factor if factor else 0.0)
            mean, variance = mean * inverse, variance * inverse
    values = {"scale": scale, "bias": bias, "mean": mean, "variance": variance}
    constants = [layer.constant(value, name) for name, value in values.items()]
    eps = params.number("eps", 1e-5)
    return layer.node("BatchNormalization", [x, *constants], epsilon=eps).shaped(dims)


def _mvn(layer: Layer) -> Tensor:
    """(x - mean) / (deviation + eps), over height and width, or over the channels too (mvn_layer.cpp)."""
    x, dims, params = layer.only_input(), layer.dims(ranks=(4,)), layer.params("mvn_param")
    axes = [1, 2, 3] if params.flag("across_channels", False) else [2, 3]
    divided, eps = params.flag("normalize_variance", True), params.number("eps", 1e-9)
    mean = layer.node("ReduceMean", [x], "mean", axes=axes, keepdims=1)
    centred = layer.node("Sub", [x, mean], "centred" if divided else "")
    if not divided:
        return centred.shaped(dims)
    squares = layer.node("Mul", [centred, centred], "squares")
    variance = layer.node("ReduceMean", [squares], "variance", axes=axes, keepdims=1)
    deviation = layer.node("Sqrt", [variance], "deviation")
    divisor = layer.node("Add", [deviation, layer.constant(eps, "eps")], "divisor")
    return layer.node("Div", [centred, divisor]).shaped(dims)


def _normalize(layer: Layer) -> Tensor:
    """scale * x / sqrt(sum of squares + eps), over all of a sample or over the channels (SSD's normalize_layer)."""
    x, dims, params = layer.only_input(), layer.dims(ranks=(4,)), layer.params("norm_param")
    axes = [1, 2, 3] if params.flag("across_spatial", True) else [1]
    eps = params.number("eps", 1e-10)
    if params.flag("channel_shared", True):
        scale = layer.weight(0, [1], "scale")
    else:
        channels = layer.fixed(dims, 1, 2, "a scale for each channel")
        scale = layer.weight(0, [channels], "scale", as_dims=[channels, 1, 1])
    squares = layer.node("ReduceSumSquare", [x], "squares", axes=axes, keepdims=1)
    padded = layer.node("Add", [squares, layer.constant(eps, "eps")], "padded")
    length = layer.node("Sqrt", [padded], "length")
    unit = layer.node("Div", [x, length], "unit")
    return layer.node("Mul", [unit, scale]).shaped(dims)


LOWERINGS: dict[str, Lowering] = {"BatchNorm": _batch_norm, "MVN": _mvn, "Normalize": _normalize}
