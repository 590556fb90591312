"""`bench.json` beside an engine: earlier results, what a new one replaces, and the fp32 variant to compare with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.app.engines.choice import ENGINE
from trtpipe.app.engines.places import Place, find_places
from trtpipe.errors import ModelError, TrtpipeError
from trtpipe.files import is_special, write_whole
from trtpipe.metrics.records import NAME, read_record
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import ENGINE as MODEL_ENGINE
from trtpipe.runners.inference.delivered import MANIFEST

_PLAIN = "fp32"


@dataclass(frozen=True)
class Before:
    """The earlier result, or why it cannot be read; both are empty when there is none."""

    record: Mapping[str, Any] | None = None
    why_not: str = ""


def before(place: Place) -> Before:
    """The result beside an engine, even if it is that of another engine."""
    path = place.folder / NAME
    if not _is_delivered(place) or not path.exists():
        return Before()
    try:
        return Before(read_record(path))
    except ModelError as error:
        return Before(why_not=error.problems[0].fact)


def _is_delivered(place: Place) -> bool:
    """Whether it is an engine in its own directory, which can hold its results."""
    return not place.only_model and place.engine is not None and place.engine.name == MODEL_ENGINE


def reference_of(place: Place) -> Place | None:
    """The delivered fp32 cell of the same pipeline and target; None for fp32 itself, and when it was not delivered."""
    if place.manifest is None or place.only_model or place.manifest.get("precision") == _PLAIN:
        return None
    target = place.folder.resolve().name.rpartition("@")[2]
    for path in sorted(place.folder.resolve().parent.glob(f"*@*/{MANIFEST}")):
        if path.parent.name.rpartition("@")[2] != target:
            continue
        try:
            (found,) = find_places(str(path.parent))
        except TrtpipeError:
            continue  # a user who names it gets the error; this is only a lookup
        if (
            found.manifest is not None
            and found.manifest.get("precision") == _PLAIN
            and found.engine is not None
        ):
            return found
    return None


def keep(place: Place, record: Mapping[str, Any], output: Path | None) -> tuple[Path | None, str]:
    """Write a result atomically; returns where, or why not. A CPU result never replaces one of the same engine.

    Raises TrtpipeError when it cannot be written.
    """
    path = output
    if path is None:
        if not _is_delivered(place):
            return None, ""
        path = place.folder / NAME
        former = before(place).record
        measured = former is not None and former["subject"] == ENGINE and record["subject"] != ENGINE
        if measured and former is not None and former.get("engine") == record["engine"]:
            return None, f"{path} is not replaced: it contains measurements of the engine itself"
    if is_special(path):
        raise TrtpipeError(
            Code.NOT_A_FILE,
            f"{path} is not a regular file",
            "move it away, or name another place with --output",
        )
    try:
        write_whole(path, (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TrtpipeError(
            Code.CANNOT_WRITE, f"cannot write {path}: {reason}", "name another place with --output"
        ) from error
    return path, ""
