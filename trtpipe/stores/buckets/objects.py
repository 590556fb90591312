"""Object stores and web servers as buckets, through obstore (an optional dependency): s3, gs, az, https and http.

A web server is accessed with plain GET, HEAD and PUT; a token that the user has for it is sent as a bearer token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trtpipe import __version__
from trtpipe.fetch.openers import ACCESS, client_options, first_line, in_words
from trtpipe.spec.remote import is_local_address
from trtpipe.stores.buckets import Absent, Chunks, Unusable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_PIECE = 1 << 20
_WHOLE = 8 << 20
"""Objects up to this size are sent in one request, larger ones in parts of this size, several at a time."""
_AT_ONCE = 4
_LEAST_PACE = 256 << 10
"""Minimum bytes a second; below that, making most artifacts again is faster than downloading them."""


class ObjectBucket:
    """A bucket accessed through obstore; `stall`: seconds a server may be silent, `token`: for web servers."""

    def __init__(self, url: str, stall: float, token: str = "") -> None:
        self._scheme = urlsplit(url).scheme
        self._token = token
        self._url, self._stall = url, stall
        self._small = self._opened(stall)

    def has(self, name: str) -> bool:
        """Send a HEAD request for the object."""
        import obstore

        try:
            with self._mapped():
                obstore.head(self._small, name)
        except Absent:
            return False
        return True

    def read(self, name: str, most: int) -> bytes:
        """Read in one request."""
        found = b""
        for piece in self._pieces(name, self._small):
            found += piece
            if len(found) > most:
                return found[: most + 1]
        return found

    def stream(self, name: str, size: int) -> Iterator[bytes]:
        """The pieces as they arrive, as long as they arrive fast enough."""
        yield from self._pieces(name, self._opened(2 * self._stall + size / _LEAST_PACE))

    def write(self, name: str, chunks: Chunks, size: int | None) -> None:
        """Uses one request for a small object, otherwise a multipart upload, which web servers do not support."""
        if self._scheme in ("http", "https"):
            from trtpipe.stores.buckets.requests import send

            send(f"{self._url.rstrip('/')}/{name}", self._headers(), chunks, size, self._stall)
            return
        try:
            self._put(name, chunks())
        except Absent:  # when writing, only the bucket itself can be missing
            raise Unusable("there is no such bucket", "check its address") from None

    def _put(self, name: str, pieces: Iterator[bytes]) -> None:
        import obstore

        first = b""
        for piece in pieces:
            first += piece
            if len(first) > _WHOLE:
                break
        store = self._opened(self._stall + _WHOLE / _LEAST_PACE)
        with self._mapped():
            if len(first) <= _WHOLE:
                obstore.put(store, name, first, use_multipart=False)
            else:
                obstore.put(store, name, _from(first, pieces), chunk_size=_WHOLE, max_concurrency=_AT_ONCE)

    def _pieces(self, name: str, store: ObjectStore) -> Iterator[bytes]:
        import obstore

        with self._mapped():
            stream = iter(obstore.get(store, name).stream(min_chunk_size=_PIECE))
        while True:
            with self._mapped():
                piece = next(stream, None)
            if piece is None:
                return
            yield bytes(piece)

    def _opened(self, whole: float) -> ObjectStore:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise Unusable("it needs the package obstore", "pip install 'trtpipe[remote]'") from error
        options = client_options(self._scheme, self._stall, timedelta(seconds=whole))
        if self._scheme in ("http", "https"):
            options |= {"default_headers": self._headers(), "allow_http": self._scheme == "http"}
        retries = {"max_retries": 2, "retry_timeout": timedelta(seconds=self._stall)}
        try:
            return from_url(self._url, client_options=options, retry_config=retries)
        except (BaseError, ValueError) as error:
            raise Unusable(first_line(error), _access(self._scheme)) from error

    def _headers(self) -> dict[str, str]:
        """Headers with the token, if there is one and the connection is encrypted or stays on this machine."""
        token = self._token.strip()
        safe = self._scheme == "https" or is_local_address(self._url)
        usable = token.isascii() and token.isprintable() and safe
        headers = {"User-Agent": f"trtpipe/{__version__}"}
        return headers | ({"Authorization": f"Bearer {token}"} if token and usable else {})

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        from obstore import exceptions

        try:
            yield
        except (exceptions.NotFoundError, FileNotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise Unusable("there is no such bucket", "check its address") from error
            raise Absent from error
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise Unusable("access was denied", _access(self._scheme)) from error
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise Unusable(in_words(error)) from error


def _from(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _access(scheme: str) -> str:
    return f"set the credentials: {ACCESS.get(scheme, '$TRTPIPE_REMOTE_TOKEN')}"
