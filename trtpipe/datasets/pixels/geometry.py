"""Computes the size of an image at each step of the preprocessing that an input declares, without reading pixels.

The formulas are those of `trtpipe.spec.dataset.ResizeSpec` and `InputSpec`; a size is (height, width).
"""

from __future__ import annotations

from dataclasses import dataclass

from trtpipe.spec.dataset import InputSpec, ResizeSpec

Size = tuple[int, int]


class TooSmall(ValueError):
    """An image that is smaller than its crop."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The steps for one image: resize, place on a canvas, crop, pad at the bottom and right."""

    resized: Size
    canvas: Size
    at: tuple[int, int]
    """Where the resized image is placed on the canvas."""
    crop: tuple[int, int, int, int]
    """Top, left, height and width of the part of the canvas that is kept."""
    final: Size


def geometry_of(size: Size, given: InputSpec) -> Geometry:
    """The geometry of an image of this size. Raises TooSmall."""
    resized = resized_size(size, given.resize) if given.resize else size
    canvas, at = resized, (0, 0)
    if given.resize and given.resize.mode == "letterbox":
        canvas = _pair(given.resize.size)
        if given.resize.anchor == "center":
            at = ((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2)
    crop = (0, 0, *canvas)
    if given.center_crop:
        height, width = _pair(given.center_crop)
        if height > canvas[0] or width > canvas[1]:
            raise TooSmall(f"is {_said(canvas)}, smaller than center_crop {_said((height, width))}")
        crop = (round((canvas[0] - height) / 2), round((canvas[1] - width) / 2), height, width)
    return Geometry(resized, canvas, at, crop, _padded((crop[2], crop[3]), given))


def resized_size(size: Size, resize: ResizeSpec) -> Size:
    """The size that an image of this size is resized to, without the padding of a letterbox."""
    height, width = size
    wanted = _pair(resize.size)
    if resize.mode == "stretch":
        return wanted
    if resize.mode == "letterbox":
        # an exact fraction, so that the side that determines the scale is not off by one
        if wanted[0] * width <= wanted[1] * height:
            return wanted[0], max(1, round(width * wanted[0] / height))
        return max(1, round(height * wanted[1] / width)), wanted[1]
    one = min(size) if resize.mode == "fit_short" else max(size)
    return max(1, wanted[0] * height // one), max(1, wanted[0] * width // one)


def static_size(given: InputSpec) -> tuple[int | None, int | None]:
    """The output size if it is the same for all images; None when it depends on the image."""
    size: Size | None = None
    if given.resize and given.resize.mode in ("stretch", "letterbox"):
        size = _pair(given.resize.size)
    if given.center_crop:
        size = _pair(given.center_crop)
    return _padded(size, given) if size else (None, None)


def _padded(size: Size, given: InputSpec) -> Size:
    multiple = given.pad_to_multiple or 1
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def _pair(size: tuple[int, ...]) -> Size:
    return size[0], size[-1]


def _said(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
