"""How an artifact is transferred: a header of eight bytes, then the bytes, plain or compressed.

    0  7 bytes  "trtpipe"
    7  1 byte   "-" plain, "z" one Zstandard frame

Compression is used only where it helps: half-precision engines shrink a lot, float32 weights hardly at all, so
three pieces of the file are tried first. Zstandard at level 1 is used because it is much faster than zlib and
compresses better; without it (the standard library has it from Python 3.14, the extra `remote` before) the bytes are
sent plain. The digest is that of the plain bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from trtpipe.digests import Digest

MAGIC = b"trtpipe"
_PLAIN, _ZSTD = b"-", b"z"
_LEVEL = 1
_PIECE = 1 << 20
_SAMPLE = 256 << 10
_LEAST = 512
_PAYS = 0.9
"""Maximum ratio of compressed to plain size; saving less than a tenth is not worth the time."""


class Wrong(Exception):
    """The received data are not what was sent."""


def packed(path: Path, digest: Digest) -> tuple[Iterator[bytes], int | None]:
    """A file's bytes in transfer format, and their number if known in advance. Raises OSError."""
    zstd = _zstd()
    if zstd is None or not _pays(path, digest.size, zstd):
        return _plain(path), len(MAGIC) + 1 + digest.size
    return _compressed(path, zstd), None


def _plain(path: Path) -> Iterator[bytes]:
    yield MAGIC + _PLAIN
    yield from _pieces(path)


def _compressed(path: Path, zstd: ModuleType) -> Iterator[bytes]:
    yield MAGIC + _ZSTD
    compressor = zstd.ZstdCompressor(_LEVEL)
    for piece in _pieces(path):
        if out := compressor.compress(piece):
            yield out
    yield compressor.flush()


def unpacked(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The plain bytes; at most one piece more than `size` bytes. Raises Wrong."""
    came = iter(pieces)
    head = b""
    while len(head) <= len(MAGIC):
        piece = next(came, None)
        if piece is None:
            raise Wrong("it ends within its header")
        head += piece
    kind = head[len(MAGIC) : len(MAGIC) + 1]
    if not head.startswith(MAGIC) or kind not in (_PLAIN, _ZSTD):
        raise Wrong("it has no header of trtpipe")
    rest = _with(head[len(MAGIC) + 1 :], came)
    brought = 0
    for piece in rest if kind == _PLAIN else _decompressed(rest):
        brought += len(piece)
        if brought > size:
            raise Wrong(f"it is longer than the {size} bytes that it should have")
        yield piece
    if brought < size:
        raise Wrong(f"it ends after {brought} of {size} bytes")


def _decompressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    zstd = _zstd()
    if zstd is None:
        raise Wrong("it is compressed, and this Python has no Zstandard: pip install 'trtpipe[remote]'")
    decompressor = zstd.ZstdDecompressor()
    try:
        for piece in pieces:
            data = piece
            while not decompressor.eof:
                out = decompressor.decompress(data, _PIECE)
                data = b""
                if out:
                    yield out
                if decompressor.needs_input:
                    break
    except zstd.ZstdError as error:
        raise Wrong("it cannot be decompressed") from error


def _pays(path: Path, size: int, zstd: ModuleType) -> bool:
    if size < _LEAST:
        return False
    tried = b""
    with path.open("rb") as file:
        for start in {0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)}:
            file.seek(start)
            tried += file.read(_SAMPLE)
    return len(zstd.compress(tried, _LEVEL)) < _PAYS * len(tried)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _zstd() -> ModuleType | None:
    """The Zstandard module, or None."""
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return None
    found: ModuleType = zstd
    return found
