"""The weights of a network in parsed.weights, memory-mapped, so that only what is accessed takes memory.

TensorRT has element types that NumPy lacks. `stored` gives their bits (bfloat16 as uint16, 8-bit floats as uint8, 4-bit
types as uint8 with two elements a byte, the first in the lower half), `values` gives numbers: float32 for the floats
among them, int8 for int4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.networks.network import WeightsRef

BITS = {
    "float32": 32, "float16": 16, "bfloat16": 16, "float8e4m3fn": 8, "float8e8m0": 8, "float4e2m1": 4,
    "int64": 64, "int32": 32, "int8": 8, "uint8": 8, "int4": 4, "bool": 8,
}  # fmt: skip
"""The element types of TensorRT and the size of one element."""
_STORED = {
    "bfloat16": "uint16",
    "float8e4m3fn": "uint8",
    "float8e8m0": "uint8",
    "float4e2m1": "uint8",
    "int4": "uint8",
}
_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def bytes_of(dtype: str, count: int) -> int:
    """The size of elements in bytes; 4-bit types are packed two to a byte. Raises KeyError for an unknown type."""
    return (count * BITS[dtype] + 7) // 8


@dataclass(frozen=True, slots=True)
class Piece:
    """Where the bytes of one digest are in the file."""

    offset: int
    size: int


@dataclass(frozen=True)
class Contents:
    """The bytes of a network's weights, by digest."""

    path: Path
    pieces: Mapping[str, Piece]

    @cached_property
    def _mapped(self) -> Array:
        import numpy as np

        try:
            return np.memmap(self.path, np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise ModelError(Code.CANNOT_READ, f"cannot read '{self.path}': {error}") from error

    def raw(self, ref: WeightsRef) -> Array:
        """The bytes, as a view of uint8."""
        import numpy as np

        piece = self.pieces[ref.digest]
        if not piece.size:
            return np.empty(0, np.uint8)
        return self._mapped[piece.offset : piece.offset + piece.size]

    def stored(self, ref: WeightsRef) -> Array:
        """The elements as stored, flat, as a view; for types that NumPy lacks, their bits."""
        import numpy as np

        return self.raw(ref).view(np.dtype(_STORED.get(ref.dtype, ref.dtype)).newbyteorder("<"))

    def values(self, ref: WeightsRef) -> Array:
        """The elements as numbers, flat: a view where NumPy has the type, else widened without loss."""
        import numpy as np

        stored = self.stored(ref)
        if ref.dtype == "bfloat16":
            return (stored.astype(np.uint32) << 16).view(np.float32)
        if ref.dtype == "float8e4m3fn":
            return _table_of_fp8()[stored]
        if ref.dtype == "float8e8m0":
            powers = np.exp2(np.arange(255) - 127.0).astype(np.float32)
            return np.append(powers, np.float32(np.nan))[stored]
        if ref.dtype in ("int4", "float4e2m1"):
            halves = np.stack([stored & 15, stored >> 4], axis=-1).reshape(-1)[: ref.count]
            if ref.dtype == "int4":
                return ((halves ^ 8).astype(np.int8) - 8).astype(np.int8)
            return np.array([*_FP4, *(-one for one in _FP4)], np.float32)[halves]
        return stored


def _table_of_fp8() -> Array:
    """The value of each float8e4m3fn: bias 7, no infinities, NaN where all bits but the sign are set."""
    import numpy as np

    bits = np.arange(256)
    exponent, fraction = (bits >> 3) & 15, (bits & 7) / 8
    normal = (1 + fraction) * np.exp2(exponent - 7.0)
    table = np.where(exponent == 0, fraction * np.exp2(-6.0), normal)
    table[(bits & 127) == 127] = np.nan
    signed: Array = np.where(bits > 127, -table, table).astype(np.float32)
    return signed
