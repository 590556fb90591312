"""The agent's side of the transfer of artifacts: an HTTP server over a store, in the agent's event loop.

    HEAD /objects/HEX/SIZE    200 if the store has the artifact; else 404, and `Upload-Offset` says how much of it this
                              client (`Upload-Id`) has sent
    GET  /objects/HEX/SIZE    its bytes, from an offset on with `Range`
    PUT  /objects/HEX/SIZE    the bytes from `Upload-Offset` to the end, which must be those of the digest
    POST /missing             {"digests": [HEX/SIZE…]} → {"missing": [HEX/SIZE…]}

An address contains nothing but a digest, and what is read is always an artifact of the store. Files are read, written
and hashed in threads, a piece at a time, so that neither the event loop waits nor memory grows with an artifact's size.

Clients prove that they may connect by a certificate that the TLS context asks for. Without TLS, which is meant for one
machine, they send a token that only the agent and its clients know.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import json
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, ParamSpec, TypeVar, cast

from blake3 import blake3

from trtpipe.digests import Digest, same_digest
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, StoreError
from trtpipe.files import open_regular
from trtpipe.fleet.extras import missing_package
from trtpipe.fleet.uploads import PIECE, Upload, Uploads
from trtpipe.json_values import Malformed, read_object, texts_in
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore

try:
    from tornado.http1connection import HTTP1Connection
    from tornado.httpserver import HTTPServer
    from tornado.iostream import StreamClosedError
    from tornado.netutil import bind_sockets
    from tornado.web import Application, RequestHandler, stream_request_body
except ImportError as error:
    raise missing_package("tornado") from error

P = ParamSpec("P")
T = TypeVar("T")

MOST_DIGESTS = 20_000
_MOST_BODY = 4 << 20
_MOST_HEADERS = 16 << 10
_CHUNK = 256 << 10
_THREADS = 4
_SILENCE_SECONDS = 300
_CLIENT = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?", re.ASCII)


class ObjectServer:
    """Serves the artifacts of a store to clients, and takes artifacts from them.

    Give it a `context` that requires certificates, or a `token`, or both.
    """

    def __init__(
        self, store: LocalStore, *, context: ssl.SSLContext | None = None, token: str | None = None
    ) -> None:
        assert token or (context is not None and context.verify_mode is ssl.CERT_REQUIRED), (
            "anybody could connect"
        )
        self.store = store
        self.uploads = Uploads(store)
        self._token = token
        self._threads = ThreadPoolExecutor(_THREADS, "objects")
        routes = [
            (r"/objects/([0-9a-f]{64})/(0|[1-9][0-9]{0,17})", _Artifact, {"server": self}),
            (r"/objects/.*", _NoDigest, {"server": self}),
            (r"/missing", _Missing, {"server": self}),
            (r".*", _NoAddress, {"server": self}),
        ]
        self._http = HTTPServer(
            Application(routes, log_function=lambda handler: None),
            ssl_options=context,
            idle_connection_timeout=_SILENCE_SECONDS,
            chunk_size=_CHUNK,
            max_header_size=_MOST_HEADERS,
            max_body_size=_MOST_BODY,
            max_buffer_size=_MOST_BODY,
        )

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Start to listen; returns the port. Raises OSError, and StoreError when the store cannot be written."""
        await self.in_thread(self.uploads.open)
        sockets = bind_sockets(port, host)
        self._http.add_sockets(sockets)
        bound: int = sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop to listen, and end all connections."""
        self._http.stop()
        await self._http.close_all_connections()
        self._threads.shutdown(wait=False)

    def admits(self, authorization: str) -> bool:
        """Whether a request with that header may be answered."""
        wanted = f"Bearer {self._token}"
        return self._token is None or hmac.compare_digest(authorization.encode(), wanted.encode())

    def in_thread(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> Awaitable[T]:
        """Do something that blocks in one of the server's threads."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, lambda: work(*args, **named))


@stream_request_body
class _Handler(RequestHandler):
    """A request; nothing of its body is read before the client is known."""

    def initialize(self, server: ObjectServer) -> None:
        self.server = server

    async def prepare(self) -> None:
        if not self.server.admits(self.request.headers.get("Authorization", "")):
            self.refuse(401, "the token is wrong")

    async def data_received(self, chunk: bytes) -> None:
        self.refuse(400, "a body is not expected here")

    def refuse(self, status: int, why: str) -> None:
        """Answer that the request cannot be fulfilled."""
        if self._finished:
            return
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(why)

    def hang_up(self) -> None:
        """Close the connection, because the rest of the body, or of the answer, is of no use."""
        cast(HTTP1Connection, self.request.connection).close()


class _NoDigest(_Handler):
    async def prepare(self) -> None:
        await super().prepare()
        self.refuse(400, "this is not the address of an artifact: write /objects/HEX/SIZE")


class _NoAddress(_Handler):
    async def prepare(self) -> None:
        await super().prepare()
        self.refuse(404, "there is nothing at this address")


class _Missing(_Handler):
    """Tells which artifacts the store lacks."""

    def initialize(self, server: ObjectServer) -> None:
        super().initialize(server)
        self._body = bytearray()

    async def data_received(self, chunk: bytes) -> None:
        self._body += chunk  # at most _MOST_BODY, which the connection checks

    async def post(self) -> None:
        try:
            names = texts_in(read_object(bytes(self._body)), "digests")
            digests = [Digest.parse(name) for name in names]
        except ValueError as error:  # Malformed is one
            self.refuse(400, str(error)[:200] if isinstance(error, Malformed) else "a name is not a digest")
            return
        if len(digests) > MOST_DIGESTS:
            self.refuse(400, f"at most {MOST_DIGESTS} digests can be asked for at once")
            return
        lacking = await self.server.in_thread(
            lambda: [str(one) for one in digests if not self.server.store.has(one)]
        )
        await self.finish(json.dumps({"missing": lacking}))


class _Artifact(_Handler):
    """One artifact of the store."""

    def initialize(self, server: ObjectServer) -> None:
        super().initialize(server)
        self._upload: Upload | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def digest(self) -> Digest:
        """The artifact that the request is about."""
        hex_, size = self.path_args
        return Digest(hex_, int(size))

    # -- whether it is there

    async def head(self, *name: str) -> None:
        client = self.request.headers.get("Upload-Id", "")
        if client and not _CLIENT.fullmatch(client):
            self.refuse(400, "Upload-Id is 32 hex digits")
            return
        offset = 0
        if client:
            upload = self.server.uploads.of(self.digest, client)
            async with upload.lock:  # an upload that is being finished is waited for
                upload.writer = None
                if not await self._is_there() and not await self._done(upload, upload.recall):
                    return
                offset = upload.size
        if await self._is_there():
            self.set_header("Content-Length", str(self.digest.size))
        else:
            self.set_status(404)
            self.set_header("Upload-Offset", str(offset))
        await self.finish()

    def _is_there(self) -> Awaitable[bool]:
        return self.server.in_thread(self.server.store.has, self.digest)

    # -- sending it

    async def get(self, *name: str) -> None:
        try:
            file = await self.server.in_thread(open_regular, self.server.store.object_path(self.digest))
        except OSError:
            self.refuse(404, "the store has no such artifact")
            return
        try:
            await self._stream(file)
        finally:
            file.close()

    async def _stream(self, file: BinaryIO) -> None:
        size = self.digest.size
        if os.fstat(file.fileno()).st_size != size:
            self.refuse(404, "the store has no such artifact")
            return
        start, end = self._range()
        if start >= end and (start, end) != (0, 0):
            self.refuse(416, f"the artifact has {size} bytes")
            return
        if (start, end) != (0, size):
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", str(end - start))
        file.seek(start)
        try:
            sent = await self._write(file, end - start)
        except (StreamClosedError, TimeoutError, asyncio.TimeoutError, OSError):
            self.hang_up()
            return
        if (start, end) == (0, size) and not same_digest(sent, self.digest):
            await self.server.in_thread(_put_aside, self.server.store, self.digest)
        if sent.size == end - start:
            with contextlib.suppress(StreamClosedError):  # a client may hang up as soon as it has all bytes
                await self.finish()
        else:  # the file became shorter: the client must not take this for the end
            self.hang_up()

    def _range(self) -> tuple[int, int]:
        """Which bytes the client asks for; all of them unless it asks for one range."""
        size = self.digest.size
        found = _RANGE.fullmatch(self.request.headers.get("Range", ""))
        if found is None:
            return 0, size
        return int(found[1]), min(size, int(found[2]) + 1) if found[2] else size

    async def _write(self, file: BinaryIO, size: int) -> Digest:
        """Send bytes of a file; returns the digest of what was sent."""
        hasher, sent = blake3(), 0

        def read() -> bytes:
            piece = file.read(min(PIECE, size - sent))
            hasher.update(piece)
            return piece

        while sent < size and (piece := await self.server.in_thread(read)):
            self.write(piece)
            await asyncio.wait_for(self.flush(), _SILENCE_SECONDS)
            sent += len(piece)
        return Digest(hasher.hexdigest(), sent)

    # -- receiving it

    async def prepare(self) -> None:
        await super().prepare()
        if self._finished or self.request.method != "PUT":
            return
        headers = self.request.headers
        client, offset = headers.get("Upload-Id", ""), headers.get("Upload-Offset", "0")
        length = headers.get("Content-Length", "")
        if not (_CLIENT.fullmatch(client) and _NUMBER.fullmatch(offset) and _NUMBER.fullmatch(length)):
            self.refuse(400, "an upload needs Upload-Id, Upload-Offset and Content-Length")
        elif int(offset) + int(length) != self.digest.size:
            self.refuse(400, f"an upload goes to the end of the artifact, which has {self.digest.size} bytes")
        else:
            await self._take_over(self.server.uploads.of(self.digest, client), int(offset))

    async def _take_over(self, upload: Upload, offset: int) -> None:
        """Become the upload's writer, if the client knows where it ends."""
        async with upload.lock:
            upload.writer = self
            if not await self._done(upload, upload.recall):
                return
            if upload.size != offset:
                self.set_header("Upload-Offset", str(upload.size))
                self.refuse(409, f"the upload has {upload.size} bytes, not {offset}")
                return
            if await self.server.in_thread(upload.space_is_short):
                await self._give_up(upload, 507, "there is not enough space on its disk")
                return
        self._upload = upload
        cast(HTTP1Connection, self.request.connection).set_max_body_size(self.digest.size - offset)
        self._expect_more()

    async def data_received(self, chunk: bytes) -> None:
        upload = self._upload
        if upload is None:
            self.refuse(400, "a body is not expected here")
            return
        self._expect_more()
        async with upload.lock:
            if upload.writer is not self or not await self._done(upload, lambda: upload.append(chunk)):
                self._stop_waiting()
                self.hang_up()

    async def put(self, *name: str) -> None:
        self._stop_waiting()
        upload = self._upload
        assert upload is not None, "prepare() has answered otherwise"
        async with upload.lock:
            if upload.writer is not self:
                self.hang_up()
                return
            right: list[bool] = []
            if not await self._done(upload, lambda: right.append(upload.finish())):
                return
        if right[0]:
            self.set_status(201)
            await self.finish()
        else:
            self.refuse(422, "the bytes that arrived are not those of the digest")

    async def _done(self, upload: Upload, work: Callable[[], object]) -> bool:
        """Do something with the file of an upload; where that fails, answer so, remove the file and return False."""
        try:
            await self.server.in_thread(work)
        except (OSError, StoreError) as error:
            full = (
                error.errno == errno.ENOSPC
                if isinstance(error, OSError)
                else error.problems[0].code is Code.DISK_FULL
            )
            why = "there is not enough space on its disk" if full else f"its store cannot be written: {error}"
            await self._give_up(upload, 507 if full else 500, why)
            return False
        return True

    async def _give_up(self, upload: Upload, status: int, why: str) -> None:
        await self.server.in_thread(upload.remove)
        self.refuse(status, why)

    def _expect_more(self) -> None:
        """Close the connection of a client that falls silent."""
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(_SILENCE_SECONDS, self.hang_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def on_connection_close(self) -> None:
        self._stop_waiting()
        super().on_connection_close()


def _put_aside(store: LocalStore, digest: Digest) -> None:
    """Have the store look at an artifact that is damaged."""
    with contextlib.suppress(ArtifactDamaged, ArtifactMissing):
        store.path(digest)
