"""images: folders, globs and lists of image files, decoded one batch at a time. Needs Pillow.

Samples are sorted by path, compared as text. A file is one sample even if it is named several times; of a file with
several frames only the first is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locations import Files
from trtpipe.datasets.locations.patterns import Pattern
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import FOLDERS, DatasetSpec, InputSpec

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
"""Suffixes of the files in folders and globs that count as images."""
_CSV = ".csv"


def _listed(spec: DatasetSpec, files: Files) -> dict[str, dict[str, Path]]:
    """Array → name → file, in sample order. Raises SpecError."""
    found: dict[str, dict[str, Path]] = {}
    for array, patterns in (spec.images or {}).items():
        path = ("images", array)
        named: dict[str, Path] = {}
        for pattern in patterns:
            named |= files.below(pattern, SUFFIXES, path)
        if not named:
            shown = ", ".join(f"'{pattern}'" for pattern in patterns) or "an empty list"
            remedy = f"file names must end in {', '.join(SUFFIXES)}"
            raise SpecError(Problem(Code.NO_SAMPLES, f"no images in {shown}", remedy, path=path))
        found[array] = dict(sorted(named.items()))
    return found


def _files(spec: DatasetSpec, files: Files) -> Mapping[str, Path]:
    found = {name: file for named in _listed(spec, files).values() for name, file in named.items()}
    if spec.labels is not None and spec.labels.endswith(_CSV):
        found[spec.labels] = files(spec.labels, ("labels",))
    return found


def _open(spec: DatasetSpec, files: Files, stack: ExitStack) -> Mapping[str, Source]:
    from trtpipe.datasets.pixels.arrays import ImageArray
    from trtpipe.datasets.pixels.decoders import Encoded

    listed = _listed(spec, files)
    found: dict[str, Source] = {}
    for array, named in listed.items():
        names, places = tuple(named), tuple(named.values())

        def encoded(index: int, names: tuple[str, ...] = names, places: tuple[Path, ...] = places) -> Encoded:
            return Encoded(names[index], places[index], ("images",))

        found[array] = ImageArray(names, encoded, InputSpec())
    if spec.labels is not None and spec.labels not in found:
        found |= _labels(spec, spec.labels, files, tuple(next(iter(listed.values()))))
    return found


def _labels(spec: DatasetSpec, labels: str, files: Files, names: tuple[str, ...]) -> dict[str, Source]:
    """The classes of the first array's images, as an array with the name given by `labels`."""
    from trtpipe.datasets.pixels.labels import classes_of_file, classes_of_folders

    patterns = next(iter((spec.images or {}).values()))
    home = Pattern(patterns[0], SUFFIXES) if len(patterns) == 1 else None
    relative = [home.relative(name) if home else None for name in names]
    if labels == FOLDERS:
        if home is None or home.rest:
            fact = "labels: folders needs one folder of images"
            raise SpecError(
                Problem(Code.LABELS, fact, "name that folder, or use a .csv file", path=("labels",))
            )
        return {
            labels: classes_of_folders([below or name for below, name in zip(relative, names, strict=True)])
        }
    if labels.endswith(_CSV):
        return {labels: classes_of_file(files(labels), labels, names, relative)}
    return {}


reader = Reader(version=1, files=_files, open=_open, packages=("pillow",), extra="images")
