"""Parses shapes and sizes as people write them: `1x3x224x224`, `[1, 3, 224, 224]`, `2GiB`."""

from __future__ import annotations

import re

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code

Shape = tuple[int, ...]

_SHAPE = re.compile(r"-?\d+(?:x-?\d+)*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MOST_DIGITS = 20  # the most digits, more than 64 bits need; Python itself rejects thousands of digits
LARGEST_SIZE = 2**63 - 1
# TensorRT's Dims hold 64-bit values, but it rejects volumes and dims of 2^31 and more
LARGEST_DIM = 2**31 - 1


def parse_shape(value: object) -> Shape:
    """A shape from `"1x3x224x224"`, a list of integers, or one integer (a vector).

    `"scalar"` and `[]` are rank 0. Raises ValueError.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, str):
        value = _dims_of(value)
    if not isinstance(value, (list, tuple)) or any(
        isinstance(dim, bool) or not isinstance(dim, int) for dim in value
    ):
        raise WrongValue(
            Code.NOT_A_SHAPE, f"not a shape: {value!r}; write it as 1x3x224x224 or [1, 3, 224, 224]"
        )
    if any(dim < -1 or dim > LARGEST_DIM for dim in value):
        raise WrongValue(
            Code.NOT_A_SHAPE,
            f"a dimension must lie between 0 and {LARGEST_DIM}; write one that does, or -1 where it may be dynamic",
        )
    return tuple(value)


def _dims_of(text: str) -> list[int]:
    if text == "scalar":
        return []
    if not _SHAPE.fullmatch(text):
        raise WrongValue(
            Code.NOT_A_SHAPE, f"not a shape: {text!r}; write it as 1x3x224x224 or [1, 3, 224, 224]"
        )
    return [int(dim[:_MOST_DIGITS]) for dim in text.split("x")]  # cut digits: it is too large anyway


def format_shape(shape: Shape) -> str:
    """`(1, 3, 224, 224)` as `1x3x224x224`; rank 0 as `scalar`."""
    return "x".join(str(dim) for dim in shape) or "scalar"


def parse_size(value: object) -> int:
    """Bytes from `2GiB`, `512MB`, `1024` or an integer. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return _possible(value)
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise WrongValue(
            Code.WRONG_FORM, f"not a size: {value!r}; write it as 2GiB, 512MiB or a number of bytes"
        )
    unit = (match[2] or "").upper()
    factor = _BINARY[unit[0]] if unit.endswith("I") else _UNITS[unit]
    return _possible(float(match[1]) * factor)


def _possible(size: float) -> int:
    if size > LARGEST_SIZE:
        raise WrongValue(
            Code.WRONG_FORM, "a size beyond 64 bits; write it as 2GiB, 512MiB or a number of bytes"
        )
    return int(size)


def format_size(size: int) -> str:
    """Bytes for a reader: `4.2 MiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
