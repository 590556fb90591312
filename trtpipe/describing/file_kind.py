"""Tells an engine, a pipeline's spec and a model apart by their first bytes; names and suffixes are not asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from trtpipe.errors import ModelError

_ENGINE = re.compile(rb"[a-z]trt")  # TensorRT-RTX begins with vtrt, TensorRT with ftrt or ptrt
_SPEC = re.compile(rb"(?m)^[ {]*['\"]?(schema|pipeline)['\"]?[ \t]*:")
_HEAD = 1 << 16


def kind_of_file(path: Path) -> Literal["engine", "model", "pipeline"]:
    """`engine` for a file that begins as TensorRT's do, `pipeline` for text with a spec's first keys, else `model`.

    What is none of them is refused by whoever reads it as a model, and told by its own name there. Raises ModelError.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ModelError(f"'{path}' is not a regular file")  # a pipe would be waited for
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {(error.strerror or str(error)).lower()}") from error
    if _ENGINE.match(head):
        return "engine"
    return "pipeline" if b"\0" not in head and _SPEC.search(head) else "model"
