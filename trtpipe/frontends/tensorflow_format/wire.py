"""Fields of protobuf messages as the graph readers need them: payloads, texts, signed numbers.

The fields are not interpreted. Source: the encoding section of protobuf's documentation.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

from trtpipe.canonical.wire import LEN, WireError, WireReader

_UINT64 = (1 << 64) - 1

Buffer = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `begin` and `end` enclose its payload, `value` is the value of a varint."""

    number: int
    wire: int
    begin: int
    end: int
    value: int = 0

    def within(self, data: Buffer) -> Iterator[Field]:
        """The fields of the message that this field holds. Raises WireError."""
        if self.wire != LEN:
            raise WireError(f"field {self.number} is not a message")
        return fields(data, self.begin, self.end)

    def text(self, data: Buffer, longest: int = 1 << 16) -> str:
        """The payload as text. Raises WireError."""
        if self.wire != LEN or self.end - self.begin > longest:
            raise WireError(f"field {self.number} is not text of at most {longest} bytes")
        try:
            return bytes(data[self.begin : self.end]).decode()
        except UnicodeDecodeError:
            raise WireError(f"field {self.number} is not UTF-8") from None

    @property
    def signed(self) -> int:
        """The value of a varint as int64."""
        return self.value - (1 << 64) if self.value >= 1 << 63 else self.value


def fields(data: Buffer, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message at these bytes, one after the other. Raises WireError."""
    for one in WireReader(data).fields(begin, end):
        yield Field(one.number, one.wire, one.value, one.end, one.number_value & _UINT64)
