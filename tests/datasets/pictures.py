"""Small images made by the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def gradient(height: int, width: int, seed: int = 0):
    """RGB pixels that differ everywhere, smooth enough for JPEG."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [(rows * 3 + columns * 5 + seed * 11) % 256, (rows * 7 + seed) % 256, (columns * 2 + 40) % 256]
    return np.stack(channels, axis=-1).astype(np.uint8)


def save(path: Path, pixels, **options):
    """Writes pixels as an image in the format that the name says; the pixels."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels
