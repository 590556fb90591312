"""A plain HTTP PUT with the standard library; the body is streamed from the disk."""

from __future__ import annotations

import http.client
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO
from urllib.parse import urlsplit

from trtpipe.stores.buckets import Chunks, Unusable

_PIECE = 1 << 18
_SPOOLED = 8 << 20


def send(url: str, headers: Mapping[str, str], chunks: Chunks, size: int | None, stall: float) -> None:
    """PUT an object. Raises Unusable. Data of unknown size are spooled first, on disk or in memory if small."""
    if size is not None:
        _put(url, headers, chunks(), size, stall)
        return
    with tempfile.SpooledTemporaryFile(_SPOOLED) as file:
        for piece in chunks():
            file.write(piece)
        length = file.tell()
        file.seek(0)
        _put(url, headers, _pieces(file), length, stall)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _put(url: str, headers: Mapping[str, str], body: Iterator[bytes], length: int, stall: float) -> None:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=stall)
    try:
        connection.request("PUT", parts.path, body, {**headers, "Content-Length": str(length)})
        answer = connection.getresponse()
        answer.read(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unusable(f"it did not take an object: {words.lower()}") from error
    finally:
        connection.close()
    if answer.status in (401, 403):
        raise Unusable("access was denied", "set the credentials: $TRTPIPE_REMOTE_TOKEN")
    if not 200 <= answer.status < 300:
        raise Unusable(f"it did not take an object: it says {answer.status}")
