"""Rewrites Col2Im, which adds image patches into an image, as a transposed convolution with 0/1 weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integers_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule


def _patches(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Needs constant sizes of image and patches; if patches do not reach the end of the image, zeros are added."""
    import numpy as np

    image, block = (work.values(name) for name in node.input[1:3])
    rows = work.types.size(node.input[0], 1)
    if image is None or block is None or not rows or not work.floating(node.input[0]):
        return False
    sizes, kernel = image.tolist(), block.tolist()
    count, taps = len(kernel), math.prod(kernel)
    strides, dilations = (integers_of(node, name) or [1] * count for name in ("strides", "dilations"))
    pads = integers_of(node, "pads") or [0] * (2 * count)
    if rows % taps or count != 2:
        return False
    wide = [(tap - 1) * dilation + 1 for tap, dilation in zip(kernel, dilations, strict=True)]
    free = [size + pads[at] + pads[at + count] - wide[at] for at, size in enumerate(sizes)]
    steps = [room // stride + 1 for room, stride in zip(free, strides, strict=True)]
    channels = rows // taps
    dtype = np.dtype(np.float16) if work.types.dtype(node.input[0]) == "float16" else np.dtype(np.float32)
    if work.types.dtype(node.input[0]) == "bfloat16" or min(free) < 0:
        return False
    weights = np.tile(np.eye(taps, dtype=dtype).reshape(taps, 1, *kernel), (channels, 1, *[1] * count))
    laid = work.add("Reshape", [node.input[0], work.constant([0, rows, *steps], "patches")])
    work.add(
        "ConvTranspose",
        [laid, work.array(weights, "places")],
        node.output[0],
        name=node.name,
        group=channels,
        strides=strides,
        dilations=dilations,
        pads=pads,
        kernel_shape=kernel,
        output_padding=[room % stride for room, stride in zip(free, strides, strict=True)],
    )
    return True


PATCHES: Mapping[tuple[str, str], Rule] = {("", "Col2Im"): _patches}
