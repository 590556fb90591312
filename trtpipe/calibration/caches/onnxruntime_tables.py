"""ONNX Runtime's calibration tables for its TensorRT execution provider: a FlatBuffers file, or lines of text.

The FlatBuffers schema is `table TrtTable { dict: [KeyValue]; }` and `table KeyValue { key: string; value: string; }`;
a value is amax as decimal text. The text form has no header and lines `name amax`. Newer versions of ONNX Runtime write
the larger of a range's two ends, not of their magnitudes. Layout of a FlatBuffers file: the FlatBuffers internals
document. Every offset is checked against the file, and strings may not add up to more than it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence

from trtpipe.calibration.caches.entries import MOST_ENTRIES, Cache, cache_of
from trtpipe.calibration.caches.tensorrt_text import shown
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

# a vtable begins with its own size and its table's size; the fields' offsets follow
_FIRST_FIELD, _SECOND_FIELD = 4, 6
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|[-+]?(?:inf|nan)", re.IGNORECASE)
_LONGEST_NUMBER = 64
_UPPER_ENDS = (
    "this table may hold the upper ends of ranges, which fall short of tensors whose negative values are larger: "
    "calibration.json beside it holds both ends"
)


def is_table_text(lines: Sequence[str]) -> bool:
    """Whether the first lines that are not empty are a name and a number each."""
    some = [line for line in lines[:64] if line.strip()]
    return bool(some) and all(_row(line) for line in some)


def read_table_text(lines: Sequence[str]) -> Cache:
    """The table in these lines. Raises ModelError for the first line that has another form."""
    return cache_of(
        "onnxruntime", "ONNX Runtime's calibration table (text)", _text_rows(lines), note=_UPPER_ENDS
    )


def _text_rows(lines: Sequence[str]) -> Iterator[tuple[str, float]]:
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is not None:
            yield row
        elif line.strip():
            raise ModelError(Code.NOT_A_CACHE, f"line {number} is not a name and a number: {shown(line)}")


def _row(line: str) -> tuple[str, float] | None:
    """The name and the number of a line; None if it has another form."""
    name, _, value = line.replace("\t", " ").rstrip(" ").rpartition(" ")
    name = line[: len(name)].rstrip(" \t")
    return (name, float(value)) if name and _is_number(value) else None


def _is_number(text: str) -> bool:
    return len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) is not None


def read_flatbuffers_table(data: bytes) -> Cache:
    """The table in a FlatBuffers file. Raises ModelError when it is something else, or damaged."""
    origin = "ONNX Runtime's calibration table (FlatBuffers)"
    return cache_of("onnxruntime", origin, _FlatTable(data).rows(), note=_UPPER_ENDS)


class _FlatTable:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.characters = 0

    def rows(self) -> Iterator[tuple[str, float]]:
        root = self._follow(0)
        vector = self._field(root, _FIRST_FIELD)
        if vector is None:
            return
        start = self._follow(vector)
        count = self._unsigned(start)
        if count > min(MOST_ENTRIES, (len(self.data) - start) // 4):
            raise ModelError(Code.NOT_A_CACHE, f"its table claims {count} entries, more than the file holds")
        for index in range(count):
            yield self._pair(self._follow(start + 4 + 4 * index))

    def _pair(self, table: int) -> tuple[str, float]:
        key, value = self._text(table, _FIRST_FIELD), self._text(table, _SECOND_FIELD)
        if not key:
            raise ModelError(Code.NOT_A_CACHE, "one of its entries has no name")
        if not _is_number(value):
            raise ModelError(Code.NOT_A_CACHE, f"the value of {shown(key)} is not a number: {shown(value)}")
        return key, float(value)

    def _text(self, table: int, field: int) -> str:
        place = self._field(table, field)
        if place is None:
            return ""
        start = self._follow(place)
        length = self._unsigned(start)
        self.characters += length
        if start + 4 + length > len(self.data) or self.characters > len(self.data):
            raise ModelError(Code.NOT_A_CACHE, "a string in it extends beyond the end of the file")
        try:
            return self.data[start + 4 : start + 4 + length].decode()
        except UnicodeDecodeError as error:
            raise ModelError(Code.NOT_A_CACHE, "a string in it is not UTF-8") from error

    def _field(self, table: int, field: int) -> int | None:
        """The position of a table's field; None if it is absent."""
        vtable = table - self._number("<i", table)
        if field + 2 > self._number("<H", vtable):
            return None
        inside = self._number("<H", vtable + field)
        return table + inside if inside else None

    def _follow(self, place: int) -> int:
        return place + self._unsigned(place)

    def _unsigned(self, place: int) -> int:
        return self._number("<I", place)

    def _number(self, kind: str, place: int) -> int:
        if place < 0 or place + struct.calcsize(kind) > len(self.data):
            raise ModelError(
                Code.NOT_A_CACHE,
                "it is not a calibration table, or cut short: an offset leads out of the file",
            )
        return int(struct.unpack_from(kind, self.data, place)[0])
