"""A contact sheet: the first samples of one input as small images in rows, with the normalization undone.

`value * std + mean`, divided by `scale`, reverses what the input declares. uint8 values are shown unchanged; other
numbers are stretched between the smallest and the largest of the sheet. Each image is labelled with its number, and its
class if it has one; a sample that would be rejected has a red frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.datasets.samples.feeds import Feed, along

if TYPE_CHECKING:
    from PIL.Image import Image

    from trtpipe.arrays import Array

_SIDE = 128
_GAP = 6
_CAPTION = 14
_COLUMNS = 8
_RED, _DARK, _LIGHT = (220, 40, 40), (32, 32, 32), (230, 230, 230)


def image_axis(feed: Feed, shape: tuple[int, ...]) -> int | None:
    """The channel axis of an input value with this shape; None when it does not look like images."""
    if len(shape) != 4:
        return None
    if feed.is_image:
        return 3 if feed.spec.layout == "nhwc" else 1
    return next((axis for axis in (1, 3) if shape[axis] in (1, 3)), None)


@dataclass
class Sheet:
    """Collects one input's samples."""

    feed: Feed
    most: int
    tiles: list[tuple[Array, str, bool]] = field(default_factory=list)

    def add(self, batch: Array, captions: list[str], refused: list[bool]) -> None:
        """Keeps small versions of a batch's images until there are enough."""
        axis = image_axis(self.feed, batch.shape)
        if axis is None or len(self.tiles) >= self.most:
            return
        shown = self._undone(batch, axis)
        for pixels, caption, bad in zip(np.moveaxis(shown, axis, 3), captions, refused, strict=True):
            if len(self.tiles) < self.most:
                self.tiles.append((_small(pixels), caption, bad))

    def _undone(self, batch: Array, axis: int) -> Array:
        given, kind = self.feed.spec, np.float32
        std, mean = (along(values, 4, axis, kind) for values in (given.std, given.mean))
        made = batch.astype(kind) * std + mean
        return made / kind(given.scale) if given.scale else made

    def write(self, path: Path) -> None:
        """The sheet as a PNG. Raises OSError."""
        from PIL import Image, ImageDraw

        images = self._images()
        columns = min(_COLUMNS, max(1, len(images)))
        rows = -(-len(images) // columns)
        width, height = _SIDE + _GAP, _SIDE + _CAPTION + _GAP
        sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _DARK)
        draw = ImageDraw.Draw(sheet)
        for number, (image, (_, caption, bad)) in enumerate(zip(images, self.tiles, strict=True)):
            left, top = _GAP + number % columns * width, _GAP + number // columns * height
            at = (left + (_SIDE - image.width) // 2, top + (_SIDE - image.height) // 2)
            sheet.paste(image, at)
            if bad:
                box = (left - 2, top - 2, left + _SIDE + 1, top + _SIDE + 1)
                draw.rectangle(box, outline=_RED, width=2)
            draw.text((left, top + _SIDE + 1), caption, fill=_LIGHT)
        sheet.save(path, format="PNG")

    def _images(self) -> list[Image]:
        from PIL import Image

        pixels = [self._rgb(tile) for tile, _, _ in self.tiles]
        low, high = self._range(pixels)
        made = []
        for one in pixels:
            with np.errstate(invalid="ignore"):
                scaled = np.nan_to_num(
                    (one - low) * (255.0 / (high - low)), nan=0.0, posinf=255.0, neginf=0.0
                )
            image = Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
            factor = _SIDE / max(image.size)
            size = (max(1, int(image.width * factor)), max(1, int(image.height * factor)))
            wanted = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
            made.append(image.resize(size, wanted))
        return made

    def _rgb(self, tile: Array) -> Array:
        if tile.shape[2] == 1:
            return np.repeat(tile, 3, axis=2)
        return tile[:, :, ::-1] if self.feed.spec.colour == "bgr" else tile

    def _range(self, pixels: list[Array]) -> tuple[float, float]:
        """The values shown as black and as white."""
        if np.dtype(self.feed.source.dtype) == np.uint8:
            return 0.0, 255.0
        finite = [one[np.isfinite(one)] for one in pixels]
        low = min((float(one.min()) for one in finite if one.size), default=0.0)
        high = max((float(one.max()) for one in finite if one.size), default=0.0)
        return (low, high) if high > low else (low, low + 1.0)


def _small(pixels: Array) -> Array:
    """Every n-th pixel of a large image, which leaves at most twice the displayed size."""
    step = max(1, max(pixels.shape[:2]) // (2 * _SIDE))
    return np.ascontiguousarray(pixels[::step, ::step])
