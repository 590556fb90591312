"""SSD's PriorBox, which is a constant if the sizes are known (prior_box_layer.cpp of Caffe's SSD fork).

The top is [1, 2, H*W*P*4]: the boxes (x and y of both corners, parts of the image's size), then their variances. P
boxes are centred at each of H*W places. Sizes are truncated to integers, as in the layer's C++ code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.frontends.caffe_format.layer import Layer, Lowering, Tensor
from trtpipe.frontends.caffe_format.params import Params

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_SAME_RATIO = 1e-6
_MOST_BOXES = 1 << 24  # the most values of the constant: 512 MiB


@dataclass(frozen=True, slots=True)
class _Priors:
    """The boxes of one place, as (width, height) in pixels, and how places follow each other."""

    boxes: list[tuple[float, float]]
    variances: list[float]
    image: tuple[float, float]
    """Height and width, in pixels; 0 where the second bottom says them."""
    step: tuple[float, float]
    """Pixels from place to place, down and across; 0 where the sizes say them."""
    offset: float
    clip: bool


def _prior_box(layer: Layer) -> Tensor:
    layer.expect_inputs(2)
    priors = _read(layer, layer.params("prior_box_param"))
    places = _sizes(layer, 0)
    image = priors.image if all(priors.image) else _sizes(layer, 1)
    if places[0] * places[1] * len(priors.boxes) > _MOST_BOXES:
        raise layer.refuse(f"it makes more than {_MOST_BOXES:,} boxes")
    values = _values(priors, places, image)
    return Tensor(layer.constant(values, "boxes"), tuple(values.shape))


def _sizes(layer: Layer, index: int) -> tuple[int, int]:
    dims = layer.dims(index, ranks=(4,))
    why = "a PriorBox, which becomes a constant,"
    return layer.fixed(dims, 2, 3, why), layer.fixed(dims, 3, 4, why)


def _read(layer: Layer, params: Params) -> _Priors:
    least, most = params.numbers("min_size"), params.numbers("max_size")
    if not least or any(size <= 0 for size in least):
        raise params.refuse("min_size", "min_size must be given, and above 0")
    if most and len(most) != len(least):
        raise params.refuse("max_size", f"{len(least)} min_size need as many max_size, not {len(most)}")
    if any(large <= small for small, large in zip(least, most, strict=False)):
        raise params.refuse("max_size", "each max_size must be larger than its min_size")
    ratios = _ratios(params)
    boxes: list[tuple[float, float]] = []
    for number, size in enumerate(least):
        boxes += _boxes(int(size), int(most[number]) if most else None, ratios)
    return _Priors(
        boxes,
        _variances(params),
        _pair(params, "img_size", ("img_h", "img_w")),
        _pair(params, "step", ("step_h", "step_w")),
        params.number("offset", 0.5),
        params.flag("clip", False),
    )


def _ratios(params: Params) -> list[float]:
    """The distinct aspect ratios except 1, with their inverses unless `flip` is false."""
    found = [1.0]
    flip = params.flag("flip", True)
    for ratio in params.numbers("aspect_ratio"):
        if ratio <= 0:
            raise params.refuse("aspect_ratio", "aspect_ratio must be above 0")
        if any(abs(ratio - other) < _SAME_RATIO for other in found):
            continue
        found += [ratio, 1 / ratio] if flip else [ratio]
    return [ratio for ratio in found if abs(ratio - 1) >= _SAME_RATIO]


def _boxes(size: int, larger: int | None, ratios: list[float]) -> list[tuple[float, float]]:
    found = [(float(size), float(size))]
    if larger is not None:
        middle = math.sqrt(size * larger)
        found.append((middle, middle))
    return found + [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in ratios]


def _variances(params: Params) -> list[float]:
    found = params.numbers("variance") or [0.1]
    if len(found) not in (1, 4) or any(one <= 0 for one in found):
        raise params.refuse("variance", "variance must be 1 or 4 numbers above 0")
    return found * 4 if len(found) == 1 else found


def _pair(params: Params, both: str, names: tuple[str, str]) -> tuple[float, float]:
    """Height and width, written as one number or as two; zeros when they are not written."""
    separate = [params.number(name, 0) for name in names]
    together = params.number(both, 0)
    if together and any(separate):
        raise params.refuse(
            both, f"{both} is given together with {names[0]} and {names[1]}", "leave out one of them"
        )
    if any(one < 0 for one in (together, *separate)):
        raise params.refuse(both if together else names[0], f"{both} must not be below 0")
    return (together, together) if together else (separate[0], separate[1])


def _values(priors: _Priors, places: tuple[int, int], image: tuple[float, float]) -> Array:
    """The top's values. Centres are float32 as in C++, and the division happens in double."""
    import numpy as np

    step = priors.step if all(priors.step) else (image[0] / places[0], image[1] / places[1])
    down, across = (
        ((np.arange(count, dtype=np.float32) + np.float32(priors.offset)) * np.float32(pixels)).astype(float)
        for count, pixels in zip(places, step, strict=True)
    )
    widths, heights = (
        np.asarray([box[axis] for box in priors.boxes], np.float32).astype(float) for axis in (0, 1)
    )
    boxes = np.empty((*places, len(priors.boxes), 4))
    boxes[..., 0] = (across[None, :, None] - widths / 2) / image[1]
    boxes[..., 1] = (down[:, None, None] - heights / 2) / image[0]
    boxes[..., 2] = (across[None, :, None] + widths / 2) / image[1]
    boxes[..., 3] = (down[:, None, None] + heights / 2) / image[0]
    if priors.clip:
        boxes = boxes.clip(0, 1)
    variances = np.broadcast_to(np.asarray(priors.variances, np.float32), boxes.shape)
    return np.stack([boxes.ravel(), variances.ravel()])[None].astype(np.float32)


LOWERINGS: dict[str, Lowering] = {"PriorBox": _prior_box}
