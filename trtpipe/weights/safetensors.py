"""A .safetensors file as named weights, memory-mapped; and a writer for such files.

The format (https://github.com/huggingface/safetensors, "Format"): 8 bytes little-endian, the header's length; a JSON
header that gives each tensor's type, shape and byte range in the data; the data, without gaps.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, TypeGuard

from trtpipe.errors import ModelError, Problem
from trtpipe.files import open_beside
from trtpipe.problem_codes import Code
from trtpipe.weights.elements import native, numpy_dtype

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json, JsonObject

_LONGEST_HEADER = 32 << 20
_MOST_DIMS = 32
_METADATA = "__metadata__"
_TYPES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1), "F8_E8M0": ("float8_e8m0fnu", 1),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1),
    "U64": ("uint64", 8), "U32": ("uint32", 4), "U16": ("uint16", 2), "U8": ("uint8", 1), "BOOL": ("bool", 1),
}  # fmt: skip
_CODES = {name: (code, size) for code, (name, size) in _TYPES.items()}

WRITABLE = frozenset(_CODES)
"""The element types that the format has a code for here."""


@dataclass(frozen=True, slots=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    begin: int  # relative to the beginning of the file
    end: int


class SafetensorsFile:
    """The tensors of a file, by name; the whole header is checked when it is opened. Raises ModelError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                header, start = _header(file, size)
        except OSError as error:
            raise ModelError(Code.CANNOT_READ, f"cannot read '{path}': {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            said = " ".join(str(error).split())
            raise ModelError(
                Code.NOT_SAFETENSORS, f"'{path}' is not a .safetensors file: {said}", _AGAIN
            ) from error
        self._entries = _entries(header, start, size, path)
        self.names = tuple(self._entries)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Dims of a tensor."""
        return self._entries[name].shape

    def dtype_of(self, name: str) -> str:
        """Element type of a tensor."""
        return self._entries[name].dtype

    def count_of(self, name: str) -> int:
        """Elements of a tensor."""
        return math.prod(self._entries[name].shape)

    def array(self, name: str) -> Array:
        """The values, mapped."""
        import numpy as np

        entry = self._entries[name]
        dtype = numpy_dtype(entry.dtype)
        if entry.begin == entry.end:
            return native(np.zeros(entry.shape, dtype))
        length = (entry.end - entry.begin,)
        mapped = np.memmap(self._path, mode="r", dtype=np.uint8, offset=entry.begin, shape=length)
        return native(mapped.view(dtype).reshape(entry.shape))

    def location(self, name: str) -> tuple[Path, int] | None:
        """The position of a tensor's values."""
        entry = self._entries[name]
        return (self._path, entry.begin) if entry.begin < entry.end else None


@dataclass(frozen=True)
class Writable:
    """A tensor to be written; `values` returns its array when it is written."""

    dtype: str
    shape: tuple[int, ...]
    values: Callable[[], Array]


def write_safetensors(path: Path, tensors: Mapping[str, Writable]) -> None:
    """Writes the file atomically; equal tensors give equal bytes, in any order. Raises OSError.

    Memory holds one tensor at a time. Types are among `WRITABLE`. The widest types come first, so that all tensors are
    aligned.
    """
    order = sorted(tensors, key=lambda name: (-_CODES[tensors[name].dtype][1], name))
    handle, temporary = open_beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_header_bytes(tensors, order))
            for name in order:
                file.write(_little_endian(tensors[name].values()))
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


_AGAIN = "copy or download the file again"


def _header(file: IO[bytes], size: int) -> tuple[JsonObject, int]:
    """The header's JSON, and the offset of the data. Raises ValueError."""
    raw = file.read(8)
    if len(raw) < 8:
        raise ValueError("it is too short")
    length = int(struct.unpack("<Q", raw)[0])
    if length > size - 8:
        raise ValueError(f"its header claims {length} bytes, but the file has {size}")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header claims {length} bytes; {_LONGEST_HEADER} are allowed")
    text = file.read(length).decode("utf-8")
    header = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    if not isinstance(header, dict):
        raise ValueError("its header is not JSON object")
    return header, 8 + length


def _no_duplicates(pairs: list[tuple[str, Json]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"its header says {twice!r} twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"its header holds {text}")


def _entries(header: JsonObject, start: int, size: int, path: Path) -> dict[str, _Entry]:
    """The tensors in the header, in the order of their bytes. Raises ModelError."""
    found: dict[str, _Entry] = {}
    problems: list[Problem] = []
    for name, said in header.items():
        if name == _METADATA:
            continue
        try:
            found[name] = _entry(name, said, start)
        except ValueError as error:
            problems.append(Problem(Code.NOT_SAFETENSORS, f"tensor {name!r} of '{path}' {error}", _AGAIN))
    if problems:
        raise ModelError(problems)
    ordered = dict(sorted(found.items(), key=lambda item: (item[1].begin, item[1].end, item[0])))
    end = start
    for name, entry in ordered.items():
        if entry.begin != end:
            what = "overlaps the one before it" if entry.begin < end else "leaves a gap before it"
            raise ModelError(Code.NOT_SAFETENSORS, f"tensor '{name}' of '{path}' {what}", _AGAIN)
        end = entry.end
    if end != size:
        how = "is truncated" if end > size else "has bytes that belong to no tensor"
        raise ModelError(
            Code.NOT_SAFETENSORS, f"'{path}' {how}: its tensors end at byte {end}, the file at {size}", _AGAIN
        )
    return ordered


def _entry(name: str, said: Json, start: int) -> _Entry:
    if not isinstance(said, dict) or set(said) != {"dtype", "shape", "data_offsets"}:
        raise ValueError("must have dtype, shape and data_offsets, nothing else")
    name.encode()  # a ValueError for a lone surrogate, which is not valid in an ONNX name
    if not isinstance(said["dtype"], str) or said["dtype"] not in _TYPES:
        raise ValueError(f"has type {str(said['dtype'])[:40]!r}; known are {', '.join(_TYPES)}")
    dtype, width = _TYPES[said["dtype"]]
    shape, offsets = said["shape"], said["data_offsets"]
    if not _are_counts(shape) or len(shape) > _MOST_DIMS:
        raise ValueError("has an invalid shape")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError("has invalid data_offsets")
    needed, given = math.prod(shape) * width, offsets[1] - offsets[0]
    if needed != given:
        raise ValueError(f"needs {needed} bytes, but has {given}")
    return _Entry(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _are_counts(values: Json) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(one) is int and 0 <= one < 1 << 48 for one in values)


def _header_bytes(tensors: Mapping[str, Writable], order: Sequence[str]) -> bytes:
    header: dict[str, Json] = {}
    end = 0
    for name in order:
        code, width = _CODES[tensors[name].dtype]
        begin, end = end, end + math.prod(tensors[name].shape) * width
        header[name] = {"dtype": code, "shape": list(tensors[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _little_endian(array: Array) -> memoryview:
    import numpy as np

    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view("uint8").data
