"""Protobuf's wire format over any bytes: fields by number, each length held against where the message ends.

Knows nothing of what the fields mean. Source: the encoding section of protobuf's documentation.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

VARINT, I64, LEN, I32 = 0, 1, 2, 5
_LONGEST_VARINT = 10

Buffer = bytes | mmap.mmap


class WireError(ValueError):
    """The bytes are not protobuf, or end too early."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `begin` and `end` enclose its payload, `value` is what a varint says."""

    number: int
    wire: int
    begin: int
    end: int
    value: int = 0

    def within(self, data: Buffer) -> Iterator[Field]:
        """The fields of the message that this field holds. Raises WireError."""
        if self.wire != LEN:
            raise WireError(f"field {self.number} is no message")
        return fields(data, self.begin, self.end)

    def text(self, data: Buffer, longest: int = 1 << 16) -> str:
        """The payload as text. Raises WireError."""
        if self.wire != LEN or self.end - self.begin > longest:
            raise WireError(f"field {self.number} is no text of at most {longest} bytes")
        try:
            return bytes(data[self.begin : self.end]).decode()
        except UnicodeDecodeError:
            raise WireError(f"field {self.number} is no UTF-8") from None

    @property
    def signed(self) -> int:
        """The value of a varint as int64."""
        return self.value - (1 << 64) if self.value >= 1 << 63 else self.value


def fields(data: Buffer, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message at these bytes, one after the other. Raises WireError."""
    while begin < end:
        tag, begin = _varint(data, begin, end)
        number, wire = tag >> 3, tag & 7
        value = 0
        if number == 0:
            raise WireError(f"no field at byte {begin}")
        if wire == VARINT:
            value, after = _varint(data, begin, end)
        elif wire == LEN:
            length, begin = _varint(data, begin, end)
            after = begin + length
        elif wire in (I64, I32):
            after = begin + (8 if wire == I64 else 4)
        else:
            raise WireError(f"no field at byte {begin}")
        if after > end:
            raise WireError(f"field {number} goes on to byte {after}, beyond the end at {end}")
        yield Field(number, wire, begin, after, value)
        begin = after


def _varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
    raise WireError(f"no number at byte {position}")
