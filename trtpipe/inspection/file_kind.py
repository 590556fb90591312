"""Distinguishes the files that trtpipe knows by their first bytes, not by their names.

Model formats are distinguished by the frontends that read them; here they are all `model`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

Kind = Literal["engine", "lockfile", "pipeline", "json", "weights", "cache", "model"]

_ENGINE = re.compile(rb"[a-z]trt")  # TensorRT-RTX begins with vtrt, TensorRT with ftrt or ptrt
_SPEC = re.compile(rb"(?m)^[ {]*['\"]?(schema|pipeline)['\"]?[ \t]*:")
_LOCK = re.compile(rb"(?m)\A(?:#[^\n]*\n|\s*\n)*schema:[^\n]*\n(?:#[^\n]*\n)*cells:")
_CACHE = re.compile(rb"\A\s*TRT-\w+-\w+")
_JSON = re.compile(rb"\A\s*\{\s*[\"}]")
_WTS = re.compile(rb"\A\s*\d{1,9}[ \t\r]*\n\S+[ \t]+\d+[ \t]+[0-9A-Fa-f]{1,8}\b")
_HEAD = 1 << 16


def kind_of_file(path: Path) -> Kind:
    """The kind of a file by its first 64 KiB; `model` if it is no other kind.

    Other files are rejected later, by the code that reads them as a model and names their format. Raises ModelError.
    """
    head = head_of(path)
    if _ENGINE.match(head):
        return "engine"
    if head.startswith(b"\x93NUMPY") or (len(head) > 8 and head[6:8] == b"\0\0" and head[8:9] == b"{"):
        return "weights"
    if b"\0" in head:
        return "model"
    if _JSON.match(head):
        return "json" if not _flow_spec(head) else "pipeline"
    for kind, begins in (("lockfile", _LOCK), ("cache", _CACHE), ("weights", _WTS), ("pipeline", _SPEC)):
        if begins.search(head):
            return kind  # type: ignore[return-value]
    return "model"


def _flow_spec(head: bytes) -> bool:
    """Whether it is a spec written as JSON: its first keys are those of a spec."""
    return re.search(rb"['\"]pipeline['\"]\s*:", head) is not None and b'"cell"' not in head


def head_of(path: Path) -> bytes:
    """The first 64 KiB of a regular file. Raises ModelError."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        # opening a named pipe would block
        raise ModelError(Code.NOT_A_FILE, f"'{path}' is not a regular file")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise ModelError(
            Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        ) from error
