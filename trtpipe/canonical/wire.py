"""Takes the weights out of a serialized ONNX model without reading them.

Walks protobuf's wire format over a memory map, touching only tags, lengths and small fields. Each large weight inside a
TensorProto is replaced by an `external_data` entry that says where its bytes stand in the file itself, so that embedded
weights and truly external ones look the same afterwards. Messages that cannot hold a large tensor are copied unchanged;
protobuf's own parser validates them later.

Field numbers are those of onnx.proto3 (ONNX IR specification). Independent of paths and of the meaning of tensors.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

from trtpipe.canonical.limits import DEEPEST, Tally, too_deep

LARGE = 1024
"""Weights of at least this many bytes are left in the file."""

VARINT, I64, LEN, I32 = 0, 1, 2, 5
"""Wire types: how the payload of a field is laid out."""

_FLOAT, _DOUBLE = 1, 11

# Message kind -> field number -> kind of the message in that field. Only what can lead to a TensorProto, or has a name.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {},
}
_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 4, 9, 10, 13, 14


class WireError(ValueError):
    """The bytes are not protobuf, or end too early."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its tag is at `begin`, its payload from `value` to `end`."""

    number: int
    wire: int
    begin: int
    value: int
    end: int
    number_value: int = 0
    """What a varint holds."""


class WireReader:
    """Iterates over the fields of protobuf messages in `data`; every length is checked against the message's end."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self.data = data

    def fields(self, position: int, end: int) -> Iterator[Field]:
        """The fields from `position` to `end`, one after the other. Raises WireError."""
        while position < end:
            field = self.field(position, end)
            yield field
            position = field.end

    def field(self, begin: int, end: int) -> Field:
        """The field whose tag begins at `begin`. Raises WireError."""
        tag, position = self.varint(begin, end)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise WireError(f"not a protobuf field at byte {begin}")
        if wire == VARINT:
            value, after = self.varint(position, end)
            return Field(number, wire, begin, position, after, value)
        if wire == LEN:
            length, position = self.varint(position, end)
            after = position + length
        elif wire in (I64, I32):
            after = position + (8 if wire == I64 else 4)
        else:
            raise WireError(f"not a protobuf field at byte {begin}")
        if after > end:
            raise WireError(
                f"field {number} at byte {begin} goes on to byte {after}, beyond the end at {end}"
            )
        return Field(number, wire, begin, position, after)

    def varint(self, position: int, end: int) -> tuple[int, int]:
        """The number at `position`, and where it ends. Raises WireError."""
        value = shift = 0
        # A number of 64 bits takes at most ten bytes of seven bits each.
        while position < end and shift < 70:
            byte = self.data[position]
            value |= (byte & 0x7F) << shift
            position += 1
            if byte < 0x80:
                return value, position
            shift += 7
        raise WireError(f"not a protobuf number at byte {position}")


def skeleton_bytes(data: mmap.mmap, location: str) -> tuple[bytes, int]:
    """The ModelProto in `data` with every large weight replaced by a reference to `location`; and their bytes.

    Raises WireError, and TooLarge when there is more of something than any model has.
    """
    walker = _Walker(data, location)
    return b"".join(walker.message("model", 0, len(data), 0)), walker.taken


class _Walker(WireReader):
    def __init__(self, data: mmap.mmap, location: str) -> None:
        super().__init__(data)
        self.location = location
        self.taken = 0

    def message(self, kind: str, begin: int, end: int, depth: int) -> list[bytes]:
        """The message's bytes in pieces, weights replaced."""
        if depth > DEEPEST:
            raise too_deep()
        if kind == "tensor":
            return self.tensor(begin, end)
        pieces: list[bytes] = []
        copied = begin
        position = begin
        children, tally = _CHILDREN[kind], Tally(kind)
        while position < end:
            field = self.field(position, end)
            position = field.end
            tally.add(field.number, field.end - field.value)
            child = children.get(field.number) if field.wire == LEN else None
            # A smaller message cannot contain a large weight.
            if child is None or field.end - field.value < LARGE:
                continue
            inner = b"".join(self.message(child, field.value, field.end, depth + 1))
            pieces += [self.data[copied : field.begin], _length_delimited(field.number, inner)]
            copied = field.end
        pieces.append(self.data[copied:end])
        return pieces

    def tensor(self, begin: int, end: int) -> list[bytes]:
        """A TensorProto; its `raw_data`, or packed floats, which have the same layout, become a reference."""
        fields = list(self.fields(begin, end))
        tally = Tally("tensor")
        for field in fields:
            tally.add(field.number, field.end - field.value)
        data_type = next((f.number_value for f in reversed(fields) if f.number == _DATA_TYPE), 0)
        wanted = {
            _RAW_DATA,
            _FLOAT_DATA if data_type == _FLOAT else _DOUBLE_DATA if data_type == _DOUBLE else 0,
        }
        # A tensor with several data fields is ambiguous: it is copied unchanged, and judged by protobuf and
        # the checker.
        large = [f for f in fields if f.number in wanted and f.wire == LEN and f.end - f.value >= LARGE]
        if len(large) != 1 or any(
            f.number in (*wanted, _EXTERNAL_DATA) and f is not large[0] for f in fields
        ):
            return [self.data[begin:end]]
        weight = large[0]
        self.taken += weight.end - weight.value
        reference = _reference(self.location, weight.value, weight.end - weight.value)
        kept = (f for f in fields if f is not weight and f.number != _DATA_LOCATION)
        return [*(self.data[f.begin : f.end] for f in kept), reference]


def _reference(location: str, offset: int, length: int) -> bytes:
    entries = (("location", location), ("offset", str(offset)), ("length", str(length)))
    encoded = b"".join(_length_delimited(_EXTERNAL_DATA, _entry(key, value)) for key, value in entries)
    return encoded + bytes([_DATA_LOCATION << 3 | VARINT, 1])  # data_location: EXTERNAL


def _entry(key: str, value: str) -> bytes:
    return _length_delimited(1, key.encode()) + _length_delimited(2, value.encode())


def _length_delimited(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | LEN) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """A non-negative number as protobuf writes it: seven bits a byte, the lowest first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
