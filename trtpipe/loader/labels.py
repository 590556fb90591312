"""The files with names of classes that a spec's `labels` name: one for all outputs, or one for each glob of outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from trtpipe.errors import SpecPath

_KEY = "labels"


def named_labels(data: object, place: SpecPath) -> Iterator[tuple[SpecPath, str]]:
    """The texts in the `labels` of a mapping at a place in the spec, each with its own place."""
    labels = data.get(_KEY) if isinstance(data, dict) else None
    if isinstance(labels, str):
        yield (*place, _KEY), labels
    for glob, text in labels.items() if isinstance(labels, dict) else ():
        if isinstance(text, str):
            yield (*place, _KEY, glob), text


def label_files(files: Mapping[SpecPath, Path]) -> dict[str, Path]:
    """Globs of outputs → the file of their classes' names, among all files that a spec names; the last match counts."""
    found = {
        path: file for path, file in files.items() if path[:1] == (_KEY,) or path[:2] == ("package", _KEY)
    }
    return {"*" if path[-1] == _KEY else str(path[-1]): file for path, file in found.items()}
