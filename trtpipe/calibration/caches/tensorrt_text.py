"""TensorRT's own calibration cache, up to TensorRT 10: reading it, and writing it for tools that need it.

    TRT-8601-EntropyCalibration2
    images: 3c010a14
    (Unnamed Layer* 4) [Convolution]_output: 3d65992f

The first line is TRT, the version and the calibrator's algorithm; old exporters wrote only `1`. A row is a
tensor's name, a colon, a blank, and the bits of its int8 scale as a float32, most significant digit first, without
leading zeros. The version is major * 1000 + minor * 100 + patch before TensorRT 10, and major * 10000 + minor * 100 +
patch since. Names may hold blanks, brackets and colons.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from trtpipe.calibration.caches.entries import (
    INT8_LARGEST,
    MOST_ENTRIES,
    Cache,
    Entry,
    cache_of,
    is_text,
    why_unusable,
)
from trtpipe.errors import ModelError, Problem, SpecError
from trtpipe.problem_codes import Code

_HEADER = re.compile(r"TRT-(\d{1,9})-([A-Za-z0-9_]+)")
_VALUE = re.compile(r"[ \t]+[0-9A-Fa-f]{1,8}[ \t]*")
_VERSION = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{1,2})(\.\d+)*")
_OLD_HEADER = "1"
_SHOWN_ROWS = 10
_LONGEST_SHOWN = 80

ALGORITHMS = ("EntropyCalibration2", "MinMaxCalibration", "EntropyCalibration", "LegacyCalibration")
"""The calibrators that TensorRT had, by the names that headers have for them."""

Bits = tuple[str, int]


def is_tensorrt_text(lines: Sequence[str]) -> bool:
    """Whether the first line is a header of TensorRT's."""
    return bool(lines) and (
        _HEADER.fullmatch(lines[0].strip()) is not None or lines[0].strip() == _OLD_HEADER
    )


def read_tensorrt_text(lines: Sequence[str], *, believed: bool = False) -> Cache:
    """The cache in these lines. Raises ModelError that lists every malformed row.

    Values whose bytes seem to be in the wrong order are rejected, too, unless the format was `believed`.
    """
    header = lines[0].strip() if lines else ""
    known = _HEADER.fullmatch(header)
    if known is None and header != _OLD_HEADER:
        fact = f"it does not begin with a TensorRT header, but with {shown(header)}"
        raise ModelError(Code.NOT_A_CACHE, fact, "the first line must be like TRT-8601-EntropyCalibration2")
    rows = list(islice(_rows(lines), MOST_ENTRIES + 1))
    if not believed:
        _refuse_byte_order([bits for _, bits in rows])
    method = known[2] if known is not None else ""
    origin = header if known is not None else "TensorRT (a header without a version)"
    values = ((name, float_of(bits) * INT8_LARGEST) for name, bits in rows)
    return cache_of("tensorrt", origin, values, method)


def _rows(lines: Sequence[str]) -> Iterator[Bits]:
    problems: list[Problem] = []
    wrong = 0
    for number, line in enumerate(lines[1:], 2):
        name, _, value = line.rpartition(":")
        if name and _VALUE.fullmatch(value):
            yield name, int(value, 16)
        elif line.strip():
            wrong += 1
            if wrong <= _SHOWN_ROWS:
                fact = f"line {number} is not 'name: hex digits' of a float32: {shown(line)}"
                problems.append(Problem(Code.NOT_A_CACHE, fact))
    if wrong > _SHOWN_ROWS:
        problems.append(Problem(Code.MORE_PROBLEMS, f"{wrong - _SHOWN_ROWS} more lines are malformed"))
    if problems:
        raise ModelError(problems)


def shown(text: str) -> str:
    """Text of a file in quotes, truncated to fit into a line of an error."""
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…")


def float_of(bits: int) -> float:
    """The float32 with these bits; NaN for the patterns that mean it."""
    (value,) = struct.unpack(">f", bits.to_bytes(4, "big"))
    return float(value)


def bits_of(scale: float) -> int:
    """The bits of the float32 that is nearest to a scale."""
    return int.from_bytes(struct.pack(">f", scale), "big")


def _refuse_byte_order(rows: Sequence[int]) -> None:
    """Rejects values that make sense only with their bytes reversed: they were written with the other byte order."""
    as_written = sum(_plausible(bits) for bits in rows)
    turned = sum(_plausible(int.from_bytes(bits.to_bytes(4, "little"), "big")) for bits in rows)
    if turned > as_written and 2 * as_written < len(rows):
        example = next(bits for bits in rows if not _plausible(bits))
        fact = f"its values have their bytes in the wrong order: {turned} of {len(rows)} are plausible only reversed"
        right = int.from_bytes(example.to_bytes(4, "little"), "big")
        remedy = f"write the most significant digits first: {right:08x}, not {example:08x}"
        raise ModelError(
            Code.CACHE_FORMAT, fact, f"{remedy}; to use the values unchanged, declare format: tensorrt"
        )


def _plausible(bits: int) -> bool:
    return Entry("", float_of(bits) * INT8_LARGEST).plausible


def tensorrt_text(values: Iterable[tuple[str, float]], header: str) -> tuple[str, dict[str, str]]:
    """The cache's text for names and amax values in this order, and the names that it cannot hold, with the reason."""
    rows, left_out = [header], {}
    for name, amax in values:
        why = _unwritable(name) or why_unusable(amax)
        if why:
            left_out[name] = why
        else:
            rows.append(f"{name}: {bits_of(amax / INT8_LARGEST):x}")
    return "\n".join(rows) + "\n", left_out


def _unwritable(name: str) -> str:
    if not name:
        return "it has no name"
    if any(sign in name for sign in "\n\r\0"):
        return "its name contains a line break or a zero byte"
    return "" if is_text(name) else "its name is not text"


def header_of(version: str, algorithm: str) -> str:
    """The header of a cache for this TensorRT (`8.6.1`) and calibrator. Raises SpecError."""
    parts = _VERSION.fullmatch(version)
    if parts is None:
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"not a version of TensorRT: {version!r}",
            "write it out, for example 8.6.1 or 10.3.0",
        )
    if algorithm not in ALGORITHMS:
        raise SpecError(
            Code.UNKNOWN_VALUE, f"TensorRT has no calibrator {algorithm!r}", f"it has {', '.join(ALGORITHMS)}"
        )
    major, minor, patch = (int(parts[index]) for index in (1, 2, 3))
    number = major * 1000 + minor * 100 + patch if major < 10 else major * 10_000 + minor * 100 + patch
    return f"TRT-{number}-{algorithm}"


def version_of(header: str) -> str:
    """The TensorRT version in a header, `8.6.1`; empty if there is none."""
    known = _HEADER.fullmatch(header)
    if known is None:
        return ""
    number = int(known[1])
    if number >= 10_000:
        return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
    return f"{number // 1000}.{number // 100 % 10}.{number % 100}" if number >= 1000 else ""


def is_header(text: str) -> bool:
    """Whether text is a header of TensorRT's."""
    return _HEADER.fullmatch(text) is not None
