"""The readers of samples under damaged files: encoded images and Parquet, where Pillow and PyArrow are installed."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

Files = Mapping[str, bytes]


def image_files() -> list[Files]:
    """One small image in each format; Pillow tells them apart by their content."""
    if find_spec("PIL") is None:
        return []
    import numpy as np
    from PIL import Image

    pixels = (np.mgrid[0:20, 0:24].sum(axis=0)[:, :, None] * [3, 5, 7] % 256).astype(np.uint8)
    image, made = Image.fromarray(pixels), []
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM", "GIF"):
        file = io.BytesIO()
        image.save(file, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}))
        made.append({"x.png": file.getvalue()})
    return made


def parquet_files() -> list[Files]:
    """Numbers and lists, plain and compressed."""
    if find_spec("pyarrow") is None:
        return []
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"x": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "n": [1, 2]})
    made = []
    for compression in ("none", "snappy"):
        file = io.BytesIO()
        pyarrow.parquet.write_table(table, file, compression=compression)
        made.append({"x.parquet": file.getvalue()})
    return made


def reads_set(**fields: object) -> Callable[[Path], None]:
    """Goes through a set of the case's files, headers first."""

    def read(folder: Path) -> None:
        from trtpipe.datasets.locations.projects import ProjectFiles
        from trtpipe.datasets.samples.batches import open_dataset
        from trtpipe.loader.project import Project
        from trtpipe.spec.dataset import DatasetSpec

        spec = DatasetSpec.model_validate({"schema": 1, **fields})
        with open_dataset(spec, ProjectFiles(Project(folder))) as data:
            data.sample_shapes()
            for _ in data:
                pass

    return read
