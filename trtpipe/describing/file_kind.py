"""Tells an engine from a model by its first bytes; names and suffixes are not asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from trtpipe.errors import ModelError

_ENGINE = re.compile(rb"[a-z]trt")  # TensorRT-RTX begins with vtrt, TensorRT with ftrt or ptrt


def kind_of_file(path: Path) -> Literal["engine", "model"]:
    """`engine` for a file that begins as TensorRT's do, `model` for anything else. Raises ModelError.

    What is neither is refused by whoever reads it as a model, and told by its own name there.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ModelError(f"'{path}' is not a regular file")  # a pipe would be waited for
    try:
        with path.open("rb") as file:
            return "engine" if _ENGINE.match(file.read(4)) else "model"
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {(error.strerror or str(error)).lower()}") from error
