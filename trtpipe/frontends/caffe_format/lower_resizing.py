"""Layers of well-known forks that change height and width: Interp, Reorg and Upsample."""

from __future__ import annotations

from trtpipe.canonical.builder import Dim
from trtpipe.frontends.caffe_format.layer import Layer, Lowering, Tensor
from trtpipe.frontends.caffe_format.reshape import reshape, slice_axes

_MOST_SCALE = 4096


def _upsample(layer: Layer) -> Tensor:
    """Each value becomes a block of `scale` x `scale`."""
    if len(layer.inputs) != 1:
        raise layer.refuse("unpooling by a mask, its second bottom, cannot be built", "map it to a plugin")
    x, dims = layer.only_input(), layer.dims(ranks=(4,))
    scale = layer.params("upsample_param").integer("scale", 2, least=1)
    if scale > _MOST_SCALE:
        raise layer.refuse(f"a scale of {scale} is more than {_MOST_SCALE}")
    scales = layer.constant([1.0, 1.0, float(scale), float(scale)], "scales")
    made: list[Dim] = [*dims[:2], *(dim * scale if isinstance(dim, int) else None for dim in dims[2:])]
    resized = layer.node(
        "Resize",
        [x, "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return resized.shaped(made)


def _interp(layer: Layer) -> Tensor:
    """Bilinear with aligned corners; the new size is given, or computed from zoom and shrink factors."""
    x, dims = layer.only_input(), layer.dims(ranks=(4,))
    params = layer.params("interp_param")
    for name in ("pad_beg", "pad_end"):
        if params.integer(name, 0):
            raise params.refuse(name, f"{name} cannot be built", "leave it 0")
    zoom, shrink = params.integer("zoom_factor", 1, least=1), params.integer("shrink_factor", 1, least=1)
    size = [params.integer(name, 0, least=1) for name in ("height", "width")]
    if not any(size):
        for axis in (2, 3):
            layer.fixed(dims, axis, axis + 1, "an interpolation by factors")
        shrunk = [(dim - 1) // shrink + 1 for dim in dims[2:] if isinstance(dim, int)]
        size = [dim + (dim - 1) * (zoom - 1) for dim in shrunk]
    if not all(0 < one <= 2**31 for one in size):
        raise layer.refuse("it needs height and width, or factors that keep the size below 2^31")
    channels = layer.fixed(dims, 1, 2, "an interpolation")
    if isinstance(dims[0], int):
        sizes: str | Tensor = layer.constant([dims[0], channels, *size], "sizes")
    else:
        shape = layer.node("Shape", [x], "shape_of")
        batch = slice_axes(layer, shape, [0], [1], [0], "batch")
        sizes = layer.node("Concat", [batch, layer.constant([channels, *size], "rest")], "sizes", axis=0)
    made = layer.node(
        "Resize", [x, "", "", sizes], mode="linear", coordinate_transformation_mode="align_corners"
    )
    return made.shaped([dims[0], channels, *size])


def _reorg(layer: Layer) -> Tensor:
    """Darknet's reorg: blocks of `stride` x `stride` become channels, the input read as C / s^2, H s, W s."""
    x, dims = layer.only_input(), layer.dims(ranks=(4,))
    params = layer.params("reorg_param")
    stride = params.integer("stride", params.integer("reorg_stride", 2, least=1), least=1)
    if params.flag("reverse", False):
        raise params.refuse("reverse", "a reversed reorg cannot be built", "map it to a plugin")
    channels, height, width = (layer.fixed(dims, axis, axis + 1, "a reorg") for axis in (1, 2, 3))
    block = stride * stride
    if stride > _MOST_SCALE or channels % block or height % stride or width % stride:
        raise layer.refuse(f"{channels}x{height}x{width} cannot be divided into blocks of {stride}x{stride}")
    few = channels // block
    cut = reshape(layer, x, [(0,), few, height, stride, width, stride], "cut")
    turned = layer.node("Transpose", [cut], "turned", perm=[0, 3, 5, 1, 2, 4])
    turned = turned.shaped([dims[0], stride, stride, few, height, width])
    return reshape(layer, turned, [(0,), channels * block, height // stride, width // stride])


LOWERINGS: dict[str, Lowering] = {"Interp": _interp, "Reorg": _reorg, "Upsample": _upsample}
