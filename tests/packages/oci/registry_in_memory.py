"""A registry in this process: tokens for scopes as big registries give them, and perhaps a list of referrers.

Blobs are read a piece at a time and only counted, so that a large one takes no memory here.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PIECE = 1 << 16


@dataclass
class Memory:
    """What the registry has, and what it was asked."""

    host: str = ""
    blobs: dict[str, int] = field(default_factory=dict)
    """Digest → size."""
    manifests: dict[str, bytes] = field(default_factory=dict)
    """Digest or tag → document."""
    tokens: list[str] = field(default_factory=list)
    """The scopes that tokens were asked for."""
    lists_referrers: bool = True
    password: str = ""
    """`user:password` that a token costs; empty: everybody gets one, `open`: nobody needs one."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    memory: Memory

    def do_HEAD(self) -> None:
        digest = self.path.rpartition("/")[2]
        self.answer(200 if digest in self.memory.blobs else 404, scope="pull")

    def do_POST(self) -> None:
        self.answer(202, scope="pull,push", Location="/v2/team/net/blobs/uploads/1?state=x")

    def do_PUT(self) -> None:
        parts = urlsplit(self.path)
        if "/blobs/" in parts.path:
            hasher, size = hashlib.sha256(), 0
            for piece in self.pieces():
                hasher.update(piece)
                size += len(piece)
            (digest,) = parse_qs(parts.query)["digest"]
            right = digest == f"sha256:{hasher.hexdigest()}"
            if right and self.allowed("pull,push"):
                self.memory.blobs[digest] = size
            self.answer(201 if right else 400, scope="pull,push")
            return
        content = b"".join(self.pieces())
        if self.allowed("pull,push"):
            self.memory.manifests[parts.path.rpartition("/")[2]] = content
        subject = {"OCI-Subject": "x"} if b'"subject"' in content and self.memory.lists_referrers else {}
        self.answer(201, scope="pull,push", **subject)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/token":
            self.token(parse_qs(parts.query).get("scope", [""])[0])
            return
        content = self.memory.manifests.get(parts.path.rpartition("/")[2])
        self.answer(404 if content is None else 200, content or b"", scope="pull")

    def token(self, scope: str) -> None:
        wanted = self.memory.password
        known = base64.b64encode(wanted.encode()).decode()
        if wanted and self.headers.get("Authorization") != f"Basic {known}":
            self.answer(401)
            return
        self.memory.tokens.append(scope)
        self.answer(200, b'{"token": "%s"}' % scope.rpartition(":")[2].encode())

    def allowed(self, scope: str) -> bool:
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return self.memory.password == "open" or scope in (given, given.removesuffix(",push"))

    def pieces(self) -> Iterator[bytes]:
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read(min(left, PIECE))
            left -= len(piece)
            yield piece

    def answer(self, code: int, content: bytes = b"", scope: str = "", **headers: str) -> None:
        if scope and not self.allowed(scope):
            where = f'Bearer realm="http://{self.memory.host}/token",service="x",scope="repository:team/net:{scope}"'
            code, content, headers = 401, b"", {"WWW-Authenticate": where}
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def registry_in_memory(**settings: object) -> Iterator[Memory]:
    memory = Memory(**settings)  # type: ignore[arg-type]
    handler = type("Handler", (_Handler,), {"memory": memory})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    memory.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
