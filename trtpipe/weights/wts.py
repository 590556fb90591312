"""A tensorrtx .wts file as named weights: text in which every tensor is a line `name count hex hex …`.

The first line is the number of tensors. Each hex number is the bits of a float32, most significant digit first. The
format has no shapes. The text takes nine bytes per value, so it is read once, in chunks, and converted to a binary
temporary file, which is mapped.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_PIECE = 1 << 20
_HEAD = 1 << 12
"""A line's name and count stand in its first bytes."""

_FIRST = re.compile(rb"\s*\d{1,9}\s*")
_START = re.compile(rb"\s*(\S+)[ \t]+(\d{1,12})(?=\s|$)")
_TYPED = re.compile(rb"\s*\S+[ \t]+\d+[ \t]+\(")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,8}")
_DIGITS, _WIDTH = 8, 4
"""Hex digits, and bytes, of a float32."""


def looks_like_wts(head: bytes) -> bool:
    """Whether a file that begins like this is a .wts: a line with a number, then a name and a number."""
    first, _, rest = head.partition(b"\n")
    return bool(_FIRST.fullmatch(first)) and (not rest.strip() or bool(_START.match(rest)))


@dataclass(frozen=True, slots=True)
class _Entry:
    count: int
    offset: int  # the offset in the scratch file


class WtsFile:
    """The tensors of a file, by name, flat float32.

    Their values go to a new file in `workplace`, so that they have a location; without it, to an unnamed file. Raises
    ModelError.
    """

    def __init__(self, path: Path, workplace: Path | None) -> None:
        import numpy as np

        try:
            with path.open("rb") as text, _scratch(workplace) as scratch:
                reading = _Reading(text, scratch, path)
                self._entries = reading.entries()
                scratch.flush()
                self._named = Path(scratch.name) if workplace is not None else None
                empty = np.zeros(0, np.float32)
                self._values = np.memmap(scratch, "<f4", mode="r") if reading.written else empty
        except OSError as error:
            raise ModelError(Code.CANNOT_READ, f"cannot read '{path}': {error.strerror}") from error
        self.names = tuple(self._entries)

    def shape_of(self, name: str) -> None:
        """None, because the format has no shapes."""

    def dtype_of(self, name: str) -> str:
        """Always float32."""
        return "float32"

    def count_of(self, name: str) -> int:
        """Elements of a tensor."""
        return self._entries[name].count

    def array(self, name: str) -> Array:
        """The values, flat and mapped."""
        entry = self._entries[name]
        begin = entry.offset // _WIDTH
        return self._values[begin : begin + entry.count]

    def location(self, name: str) -> tuple[Path, int] | None:
        """The position of a tensor's values."""
        entry = self._entries[name]
        return (self._named, entry.offset) if self._named is not None and entry.count else None


def _scratch(workplace: Path | None) -> IO[bytes]:
    if workplace is None:
        return tempfile.TemporaryFile(prefix="trtpipe-")
    taken = (workplace / f"wts-{number}.bin" for number in count())
    return next(path for path in taken if not path.exists()).open("x+b")


class _Reading:
    """One pass over the text."""

    def __init__(self, text: IO[bytes], scratch: IO[bytes], path: Path) -> None:
        self.text, self.scratch, self.path = text, scratch, path
        self.line = 1
        self.written = 0

    def entries(self) -> dict[str, _Entry]:
        """Every tensor; when this returns, their values are written."""
        first = self.text.readline(_HEAD)
        if not _FIRST.fullmatch(first):
            raise self._error("is not a number of tensors")
        expected = int(first)
        found: dict[str, _Entry] = {}
        while head := self.text.readline(_HEAD):
            self.line += 1
            if not head.strip():
                continue
            name, entry = self._tensor(head)
            if name in found:
                raise self._error(f"names tensor '{name}' a second time")
            found[name] = entry
        if len(found) != expected:
            fact = f"'{self.path}' says that it holds {expected} tensors, but holds {len(found)}"
            raise ModelError(Code.NOT_WTS, fact, _AGAIN)
        return found

    def _tensor(self, head: bytes) -> tuple[str, _Entry]:
        if _TYPED.match(head):
            fact = f"'{self.path}' is a .wts with types and binary rows, which is not read"
            raise ModelError(
                Code.NOT_WTS,
                fact,
                "write it as text, every value as hex digits, or save .safetensors instead",
            )
        start = _START.match(head)
        if start is None:
            raise self._error("does not begin with a tensor's name and its number of values")
        try:
            name = start[1].decode()
        except UnicodeDecodeError:
            raise self._error(f"begins with {start[1][:40]!r}, which is not UTF-8") from None
        entry = _Entry(int(start[2]), self.written)
        given = 0
        for words in self._words(head[start.end() :], head.endswith(b"\n")):
            given += self._write(words)
            if given > entry.count:
                break
        if given != entry.count:
            more = "more" if given > entry.count else str(given)
            raise self._error(f"says that '{name}' has {entry.count} values, but holds {more}")
        return name, entry

    def _words(self, rest: bytes, ended: bool) -> Iterator[list[bytes]]:
        """The hex numbers of a line, in chunks; `rest` is the part read so far, the whole line if `ended`."""
        while not ended:
            cut = max(rest.rfind(b" "), rest.rfind(b"\t")) + 1
            if len(rest) - cut > _DIGITS:
                raise self._no_hex(rest[cut:])
            yield rest[:cut].split()
            piece = self.text.readline(_PIECE)
            ended = piece.endswith(b"\n") or not piece
            rest = rest[cut:] + piece
        yield rest.split()

    def _write(self, words: list[bytes]) -> int:
        import numpy as np

        if not words:
            return 0
        if any(length > _DIGITS for length in set(map(len, words))):
            raise self._no_hex(next(word for word in words if len(word) > _DIGITS))
        try:
            values = bytes.fromhex(b"".join(word.rjust(_DIGITS, b"0") for word in words).decode("ascii"))
        except ValueError:
            raise self._no_hex(next(word for word in words if not _HEX.fullmatch(word))) from None
        self.scratch.write(np.frombuffer(values, ">u4").astype("<u4").tobytes())
        self.written += len(values)
        return len(words)

    def _no_hex(self, word: bytes) -> ModelError:
        return self._error(f"holds {word[:20]!r}, which is not a float32 in hex")

    def _error(self, what: str) -> ModelError:
        return ModelError(Code.NOT_WTS, f"line {self.line} of '{self.path}' {what}", _AGAIN)


_AGAIN = "write or download the file again"
