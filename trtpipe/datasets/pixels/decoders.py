"""Opens encoded images with Pillow and decodes them as an input declares.

Images are restricted before they are decoded: a few formats, no more pixels than Pillow's own limit, 8-bit channels.
Whatever Pillow raises on a damaged file becomes one problem that names the file.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.datasets.pixels.geometry import Geometry, Size, TooSmall, geometry_of
from trtpipe.datasets.pixels.resampling import resample
from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import InputSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from trtpipe.arrays import Array

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
_EIGHT_BITS = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
)
_ORIENTATION = 0x0112  # EXIF 2.3, tag 274: 5 to 8 swap height and width
_SWAPPED = (5, 6, 7, 8)
_MARKS_OF_EXIF = (b"eXIf", b"Raw profile type", b"xmp")


class Encoded:
    """One encoded image: a file, or bytes, and its name for messages."""

    def __init__(self, name: str, content: Path | bytes, path: SpecPath) -> None:
        self.name, self.content, self.path = name, content, path

    def size(self, given: InputSpec) -> Size:
        """Height and width from the header, with EXIF orientation applied if asked for. Raises SpecError."""
        with self._opened() as image:
            width, height = image.size
            turned = self._orientation(image, given) in _SWAPPED
            return (width, height) if turned else (height, width)

    def final_size(self, given: InputSpec) -> Size:
        """Height and width after the preprocessing, without reading pixels. Raises SpecError."""
        return self._geometry(self.size(given), given).final

    def pixels(self, given: InputSpec) -> Array:
        """The preprocessed image: uint8 (height, width, channels). Raises SpecError."""
        with self._opened() as opened:
            image = _turned(opened, self._orientation(opened, given)).convert(
                "L" if given.colour == "gray" else "RGB"
            )
        geometry = self._geometry((image.height, image.width), given)
        return _placed(_resized(image, geometry, given), geometry, given)

    def _orientation(self, image: Image, given: InputSpec) -> int:
        """EXIF orientation, 1 to 8; 1 when there is none, it cannot be read, or it is not asked for."""
        if given.orientation == "as_stored" or (image.format == "PNG" and not self._may_have_exif()):
            return 1
        try:
            found = image.getexif().get(_ORIENTATION, 1)
        except Exception:  # damaged metadata does not mean that the pixels are damaged
            return 1
        return found if isinstance(found, int) and 1 <= found <= 8 else 1

    def _may_have_exif(self) -> bool:
        """Whether a PNG may have EXIF data; it may follow the pixels, and Pillow would decode them all to find it."""
        content = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return any(mark in content for mark in _MARKS_OF_EXIF)

    def _geometry(self, size: Size, given: InputSpec) -> Geometry:
        try:
            return geometry_of(size, given)
        except TooSmall as error:
            remedy = "remove the image, crop less, or resize with mode: fit_short first"
            raise SpecError(
                Problem(Code.IMAGE_OPTIONS, f"'{self.name}' {error}", remedy, path=self.path)
            ) from error

    @contextmanager
    def _opened(self) -> Iterator[Image]:
        from PIL import Image

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                source = io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content
                with Image.open(source, formats=_FORMATS) as image:
                    if image.mode not in _EIGHT_BITS:
                        fact = f"'{self.name}' has channels of more than 8 bits (Pillow's mode {image.mode})"
                        raise SpecError(
                            Problem(
                                Code.IMAGE_UNREADABLE, fact, "save it with 8 bits, or use npy", path=self.path
                            )
                        )
                    yield image
        except SpecError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            fact = f"'{self.name}' has too many pixels: {Image.MAX_IMAGE_PIXELS} are allowed"
            raise SpecError(
                Problem(Code.IMAGE_UNREADABLE, fact, "remove it, or make it smaller", path=self.path)
            ) from error
        except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them raise
            fact = f"cannot decode '{self.name}': {_reason(error, self.name)}"
            raise SpecError(
                Problem(Code.IMAGE_UNREADABLE, fact, "remove it, or save it again", path=self.path)
            ) from error


def _reason(error: Exception, name: str) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if type(error).__name__ == "UnidentifiedImageError":
        return f"its format is not one of {', '.join(_FORMATS)}"
    said = " ".join(str(error).split())[:200]
    return said[:1].lower() + said[1:] if said else type(error).__name__


def _turned(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    methods = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    method = methods.get(orientation)
    return image if method is None else image.transpose(method)


def _resized(image: Image, geometry: Geometry, given: InputSpec) -> Array:
    """The resized pixels, channels in the order that the input declares."""
    from PIL.Image import Resampling

    height, width = geometry.resized
    resize = given.resize
    pixelwise = resize is not None and (resize.antialias or resize.interpolation == "nearest")
    if resize is not None and pixelwise and (image.height, image.width) != (height, width):
        image = image.resize((width, height), getattr(Resampling, resize.interpolation.upper()))
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if resize is not None and not pixelwise:
        pixels = resample(pixels, (height, width), resize.interpolation)
    return pixels[:, :, ::-1] if given.colour == "bgr" else pixels


def _placed(pixels: Array, geometry: Geometry, given: InputSpec) -> Array:
    """The image placed on its canvas, cropped, and padded at the bottom and right."""
    filled = given.pad_value or (0,)
    if geometry.canvas != geometry.resized:
        pixels = _on_canvas(pixels, geometry.canvas, geometry.at, filled)
    top, left, height, width = geometry.crop
    pixels = pixels[top : top + height, left : left + width]
    if geometry.final != (height, width):
        pixels = _on_canvas(pixels, geometry.final, (0, 0), filled)
    return np.ascontiguousarray(pixels)


def _on_canvas(pixels: Array, size: Size, at: tuple[int, int], filled: tuple[int, ...]) -> Array:
    canvas = np.empty((*size, pixels.shape[2]), np.uint8)
    canvas[:] = filled
    canvas[at[0] : at[0] + pixels.shape[0], at[1] : at[1] + pixels.shape[1]] = pixels
    return canvas
