"""Processes an inference's outputs: joined over runs, saved, and interpreted as class scores."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.errors import Problem, SpecError
from trtpipe.files import is_special, open_beside
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.feeds import Feed
from trtpipe.runners.inference.tensors import type_name

DEFAULT_TOP = 5
_LARGEST_LABELS = 16 << 20
_WIDER = {"int4": "int8"}
"""What an output of a type that NumPy's files lack is saved as; float32 else."""


@dataclass(frozen=True)
class Labels:
    """The names of classes in order, empty where only their numbers are known, and how many to show."""

    names: tuple[str, ...]
    top: int


def read_labels(path: Path | None, top_k: int | None) -> Labels | None:
    """The classes in a text file, one a line; None when classes were not asked for. Raises SpecError."""
    if path is None:
        return Labels((), top_k) if top_k is not None else None
    try:
        if is_special(path) or path.stat().st_size > _LARGEST_LABELS:
            raise SpecError(
                Code.WRONG_FILE,
                f"'{path}' is not a regular file, or too large for a file of labels",
                "write one name per line",
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SpecError(
            Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(Code.NOT_UTF8, f"'{path}' is not UTF-8 text", "write one name per line") from error
    names = tuple(line.strip() for line in text.rstrip().splitlines())
    if not names:
        raise SpecError(Code.EMPTY_FILE, f"'{path}' contains no labels", "write one name per line")
    return Labels(names, top_k or DEFAULT_TOP)


def named_arrays(runs: Sequence[Mapping[str, Any]], feeds: Sequence[Feed]) -> dict[str, Any]:
    """Output → array: the rows of all runs concatenated, or `NAME.runN` for each run if their shapes differ."""
    import numpy as np

    if len(runs) == 1:
        return dict(runs[0])
    rows = [
        max((array.shape[0] for array in feed.arrays.values() if array.ndim), default=0) for feed in feeds
    ]
    found: dict[str, Any] = {}
    for name in runs[0]:
        parts = [run[name] for run in runs]
        fits = all(
            part.ndim and len(part) == count and part.shape[1:] == parts[0].shape[1:]
            for part, count in zip(parts, rows, strict=True)
        )
        if fits:
            found[name] = np.concatenate(parts)
        else:
            found |= {f"{name}.run{number}": part for number, part in enumerate(parts)}
    return found


def save_arrays(arrays: Mapping[str, Any], path: Path) -> list[str]:
    """Write an .npz atomically; returns a note for each output that is saved in a wider type. Raises SpecError."""
    import numpy as np

    notes = []
    try:
        handle, temporary = open_beside(path)
        try:
            with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    saved = array
                    if array.dtype.kind not in "biufc":
                        kind = _WIDER.get(type_name(array), "float32")
                        notes.append(
                            f"'{name}' is saved as {kind}: NumPy's files do not support {type_name(array)}"
                        )
                        saved = array.astype(kind)
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.asanyarray(saved), allow_pickle=False)
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write '{path}': {reason}", "name another place with --output"
        ) from error
    return notes


def tops(arrays: Mapping[str, Any], feeds: Sequence[Feed], labels: Labels) -> list[dict[str, Any]]:
    """The best classes of each row of each output that holds scores. Raises SpecError when none does."""
    from trtpipe.metrics.tensors import is_classification, top_k

    classes = len(labels.names) or None
    fitting = {
        name: array
        for name, array in arrays.items()
        if is_classification(array.shape, type_name(array), classes)
    }
    if not fitting:
        shown = ", ".join(f"'{name}' {type_name(a)} {list(a.shape)}" for name, a in arrays.items())
        wanted = f"{classes} scores per row, one for each label" if classes else "scores, one row per sample"
        raise SpecError(Problem(Code.UNKNOWN_TENSOR, f"no output holds {wanted}", f"the outputs are {shown}"))
    rows = [name for feed in feeds for name in feed.rows]
    truths = [label for feed in feeds for label in feed.labels]
    found = []
    for name, array in fitting.items():
        best = top_k(array, labels.top)
        found.append(
            {
                "output": name,
                "rows": [
                    {
                        "row": rows[index] if len(rows) == len(best) else str(index),
                        "label": truths[index] if len(truths) == len(best) else None,
                        "best": [_class(number, score, labels) for number, score in one],
                    }
                    for index, one in enumerate(best)
                ],
            }
        )
    return found


def _class(number: int, score: float, labels: Labels) -> dict[str, Any]:
    """A class with its score; a score that is not finite cannot be a JSON number."""
    name = labels.names[number] if labels.names else None
    return {"class": number, "name": name, "score": score if math.isfinite(score) else None}
