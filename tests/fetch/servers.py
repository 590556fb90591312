"""A web server on 127.0.0.1 that serves bytes by path and, told so, misbehaves; and an object store on top of it."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"
Act = Callable[["Handler", bytes], None]
"""Answers one request in a way of its own."""


@dataclass
class Seen:
    """One request that came in: its path as it is meant and, with its query, as it was written."""

    method: str
    path: str
    headers: dict[str, str]
    written: str


@dataclass
class Server:
    """What is served and what was asked; `acts` holds what the next requests of a path meet, in order."""

    port: int
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    acts: dict[str, list[Act]] = field(default_factory=dict)
    always: dict[str, Act] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    etags: bool = True
    ranges: bool = True
    heed_if_range: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def put(self, path: str, data: bytes) -> str:
        self.files[path] = data
        return self.url(path)

    def asked(self, path: str) -> int:
        return sum(one.path == path for one in self.seen)


class Handler(BaseHTTPRequestHandler):
    server_version = "Stand-in"
    state: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        state = self.state
        with state.lock:
            state.seen.append(Seen(self.command, path, dict(self.headers.items()), self.path))
            waiting = state.acts.get(path, [])
            act = waiting.pop(0) if waiting else state.always.get(path, serve)
        data = state.files.get(path)
        if data is None and act is serve:
            self.send_error(404)
            return
        try:
            act(self, data or b"")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def tag(self, data: bytes) -> str:
        return '"' + hashlib.md5(data).hexdigest() + '"'

    def part(self, data: bytes) -> tuple[int, bytes]:
        """Sends the head of an answer; where it starts and the bytes that would be right to send."""
        start = 0
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        same = condition in (None, self.tag(data), MODIFIED) or not self.state.heed_if_range
        if found and self.state.ranges and same:
            start = int(found[1])
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return start, b""
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        return start, data[start:]

    def head(self, data: bytes, length: int) -> None:
        if self.state.etags:
            self.send_header("ETag", self.tag(data))
        self.send_header("Content-Length", str(length))
        self.send_header("Last-Modified", MODIFIED)
        self.end_headers()


def serve(handler: Handler, data: bytes) -> None:
    """As it should be."""
    if handler.headers.get("If-Match", handler.tag(data)) != handler.tag(data):
        status(412)(handler, data)
        return
    _, rest = handler.part(data)
    if rest:
        handler.head(data, len(rest))
        if handler.command == "GET":
            handler.wfile.write(rest)


def cut(after: int) -> Act:
    """The connection ends after so many bytes of the body."""

    def act(handler: Handler, data: bytes) -> None:
        _, rest = handler.part(data)
        handler.head(data, len(rest))
        handler.wfile.write(rest[:after])
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(2)

    return act


def status(code: int, **headers: str) -> Act:
    def act(handler: Handler, data: bytes) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return act


def served_with(**headers: str) -> Act:
    """As it should be, with some headers more."""

    def act(handler: Handler, data: bytes) -> None:
        _, rest = handler.part(data)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.head(data, len(rest))
        handler.wfile.write(rest)

    return act


def redirect(target: str, code: int = 302, **headers: str) -> Act:
    return status(code, Location=target, **headers)


def announce(length: int) -> Act:
    """Says another length than what it sends."""

    def act(handler: Handler, data: bytes) -> None:
        handler.send_response(200)
        handler.head(data, length)
        handler.wfile.write(data)
        handler.close_connection = True

    return act


def trickle(pieces: int, pause: float, size: int = 1) -> Act:
    """Sends a little now and then."""

    def act(handler: Handler, data: bytes) -> None:
        _start, rest = handler.part(data)
        handler.head(data, len(rest))
        for index in range(pieces):
            handler.wfile.write(rest[index * size : (index + 1) * size])
            handler.wfile.flush()
            time.sleep(pause)
        handler.wfile.write(rest[pieces * size :])

    return act


def silent_head(seconds: float) -> Act:
    """Sends its headers a byte at a time."""

    def act(handler: Handler, data: bytes) -> None:
        ends = time.monotonic() + seconds
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while time.monotonic() < ends:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    return act


def chunked(*pieces: bytes, whole: bool = True) -> Act:
    def act(handler: Handler, data: bytes) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces or (data,):
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return act


def endless(handler: Handler, data: bytes) -> None:
    """No length, no end but that of the connection."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(data)


@contextmanager
def running(kind: type[Handler] = Handler) -> Iterator[Server]:
    """A server in a thread, on a port of its own."""
    handler = type("OneHandler", (kind,), {"protocol_version": "HTTP/1.1"})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    httpd.daemon_threads = True
    handler.state = state = Server(httpd.server_address[1])
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
