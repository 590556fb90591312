"""Reads a calibration cache from a file; its format is detected from the content, or declared.

At most 16 MiB are read: a larger file is not a table of tensors.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from trtpipe.calibration.caches.entries import Cache
from trtpipe.calibration.caches.json_tables import read_json_table
from trtpipe.calibration.caches.onnxruntime_tables import (
    is_table_text,
    read_flatbuffers_table,
    read_table_text,
)
from trtpipe.calibration.caches.tensorrt_text import is_tensorrt_text, read_tensorrt_text, shown
from trtpipe.errors import ModelError, Problem
from trtpipe.problem_codes import Code

VERSION = 1
"""Enters the key of scales that come from a cache; raised when the same file would give others."""

MAX_BYTES = 16 << 20
_AGAIN = "copy the cache again from its origin, or calibrate again: calibration: {data: NAME}"


def read_cache(path: Path, declared: str = "auto") -> Cache:
    """The cache in a file; `declared` is its format, or `auto`. Raises ModelError that names the file."""
    data = _bytes_of(path)
    try:
        if not data.strip():
            raise ModelError(Code.EMPTY_FILE, "it is empty", _AGAIN)
        return _read(data, declared)
    except ModelError as error:
        problems = [
            Problem(one.code, f"'{path.name}' is not a calibration cache: {one.fact}", one.remedy or _AGAIN)
            for one in error.problems
        ]
        raise ModelError(problems) from error


def _bytes_of(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # opening a named pipe would block
            raise ModelError(Code.NOT_A_FILE, f"'{path}' is not a regular file", "name a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(
            Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        ) from error
    if len(data) > MAX_BYTES:
        fact = f"'{path.name}' is not a calibration cache: it has more than {MAX_BYTES >> 20} MiB"
        raise ModelError(Code.FILE_TOO_LARGE, fact, _AGAIN)
    return data


def _read(data: bytes, declared: str) -> Cache:
    if b"\0" in data:
        if declared not in ("auto", "onnxruntime"):
            raise ModelError(
                Code.CACHE_FORMAT,
                f"it was declared as {declared}, which is text, but contains binary data",
                _AGAIN,
            )
        return read_flatbuffers_table(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(
            Code.NOT_A_CACHE, f"it is neither text in UTF-8 nor a table (byte {error.start})", _AGAIN
        ) from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    cache = _reader_of(lines, declared)(text, lines)
    if declared not in ("auto", cache.format):
        raise ModelError(
            Code.CACHE_FORMAT,
            f"it was declared as {declared}, but is {cache.origin}",
            f"format: {cache.format}",
        )
    return cache


_Reader = Callable[[str, list[str]], Cache]


def _reader_of(lines: list[str], declared: str) -> _Reader:
    first = next(line for line in lines if line.strip())
    if first.lstrip().startswith(("{", "[")):
        return lambda text, _: read_json_table(text)
    if declared == "tensorrt" or is_tensorrt_text(lines):
        return lambda _, rows: read_tensorrt_text(rows, believed=declared == "tensorrt")
    if declared == "onnxruntime" or is_table_text(lines):
        return lambda _, rows: read_table_text(rows)
    remedy = (
        "TensorRT's begins with a line such as TRT-8601-EntropyCalibration2; ONNX Runtime's tables and JSON "
        "mappings of tensors to amax are read too"
    )
    raise ModelError(Code.NOT_A_CACHE, f"it begins with {shown(first)}", remedy)
