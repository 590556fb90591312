"""Element types and tensors in files, without NumPy: `.npy` (versions 1 to 3) and raw bytes.

The layout of `.npy` is NumPy's: `\\x93NUMPY`, two bytes of version, the header's length (2 bytes in version 1, else 4,
little-endian), the header as a Python dictionary, the elements. Types that NumPy does not have travel as plain bytes;
of types below a byte, two elements share one, the first in the lower half, and the last byte may be half empty.
"""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .events import Failure

if TYPE_CHECKING:
    from .request import SavedTensor

_MAGIC = b"\x93NUMPY"
_ALIGNMENT = 64
_HEADER_LIMIT = 1 << 16  # the longest header that is read; a plain array's is shorter


class ElementType(NamedTuple):
    """One of TensorRT's types: ONNX's name in lower case, bits an element, NumPy's description or None."""

    name: str
    bits: int
    descr: str | None

    def nbytes(self, shape: Sequence[int]) -> int:
        """The bytes of a dense tensor."""
        return (math.prod(shape) * self.bits + 7) // 8


ELEMENT_TYPES = {
    "FLOAT": ElementType("float32", 32, "<f4"),
    "HALF": ElementType("float16", 16, "<f2"),
    "BF16": ElementType("bfloat16", 16, None),
    "INT64": ElementType("int64", 64, "<i8"),
    "INT32": ElementType("int32", 32, "<i4"),
    "INT8": ElementType("int8", 8, "|i1"),
    "UINT8": ElementType("uint8", 8, "|u1"),
    "BOOL": ElementType("bool", 8, "|b1"),
    "FP8": ElementType("float8e4m3fn", 8, None),
    "E8M0": ElementType("float8e8m0", 8, None),
    "INT4": ElementType("int4", 4, None),
    "FP4": ElementType("float4e2m1", 4, None),
}
"""TensorRT's DataType → the type; both flavours, all versions."""


class TensorFile(NamedTuple):
    """The position of a tensor's bytes in a file."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    def read_into(self, target: memoryview) -> None:
        """Fill `target`, which has `nbytes`. Raises Failure when the file became shorter."""
        with open(self.path, "rb") as file:  # noqa: PTH123
            file.seek(self.offset)
            if file.readinto(target) != self.nbytes:
                raise Failure("input", f"{self.path} was cut short while it was read")


def find_tensor(name: str, entry: SavedTensor) -> TensorFile:
    """The tensor that a request names, checked against its file. Raises Failure, OSError."""
    path, dtype, shape = str(entry["file"]), str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
    kind = next((one for one in ELEMENT_TYPES.values() if one.name == dtype), None)
    if kind is None:
        known = ", ".join(one.name for one in ELEMENT_TYPES.values())
        raise Failure("input", f"input '{name}' has the unknown type '{dtype}'", f"choose from {known}")
    if any(size < 0 for size in shape):
        raise Failure("input", f"input '{name}' has the shape {list(shape)}")
    offset = _npy_offset(name, path, kind, shape) if path.endswith(".npy") else 0
    nbytes, there = kind.nbytes(shape), os.path.getsize(path) - offset  # noqa: PTH202
    if nbytes != there:
        fact = f"input '{name}' is {dtype} {list(shape)}, which is {nbytes} bytes; {path} holds {there}"
        raise Failure("input", fact)
    return TensorFile(path, dtype, shape, offset, nbytes)


def _npy_offset(name: str, path: str, kind: ElementType, shape: tuple[int, ...]) -> int:
    """The offset of the elements; the header must agree with the request."""
    with open(path, "rb") as file:  # noqa: PTH123
        head = file.read(12)
        start = 10 if head[6:7] == b"\x01" else 12
        length = int.from_bytes(head[8:start], "little")
        file.seek(start)
        text = file.read(min(length, _HEADER_LIMIT))
    if head[:6] != _MAGIC or len(text) != length:
        raise Failure("input", f"{path} is not an .npy file")
    try:
        header = ast.literal_eval(text.decode())
        said = (header["descr"], tuple(header["shape"]), header["fortran_order"])
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise Failure("input", f"{path} is a damaged .npy file") from error
    if said != (kind.descr, shape, False):
        order = ", in Fortran's order" if said[2] else ""
        fact = f"input '{name}': {path} holds {said[0]} {list(said[1])}{order}, not {kind.name} {list(shape)}"
        raise Failure("input", fact)
    return start + length


def write_tensor(stem: str, kind: ElementType, shape: Sequence[int], data: memoryview) -> str:
    """Write a tensor as STEM.npy, or STEM.bin where NumPy lacks the type; returns the file's name."""
    path = stem + (".npy" if kind.descr else ".bin")
    with open(path, "wb") as file:  # noqa: PTH123
        if kind.descr:
            file.write(npy_header(kind.descr, shape))
        file.write(data)
    return path


def npy_header(descr: str, shape: Sequence[int]) -> bytes:
    """Everything before the elements of a `.npy` file of version 1."""
    text = repr({"descr": descr, "fortran_order": False, "shape": tuple(shape)})
    padding = -(len(_MAGIC) + 4 + len(text) + 1) % _ALIGNMENT
    header = (text + " " * padding + "\n").encode()
    return _MAGIC + b"\x01\x00" + len(header).to_bytes(2, "little") + header
