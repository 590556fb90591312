"""Agents on loopback, each with an event loop in a thread of its own, and what can happen on the way to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.digests import Digest
from trtpipe.fleet.object_client import Peer
from trtpipe.fleet.object_server import ObjectServer
from trtpipe.stores.local import LocalStore

TOKEN = "a token"
PAUSES = (0.01,) * 4


@dataclass
class Agent:
    store: LocalStore
    server: ObjectServer
    loop: asyncio.AbstractEventLoop
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def peer(
        self, port: int = 0, *, token: str | None = TOKEN, context: ssl.SSLContext | None = None
    ) -> Peer:
        """A client of it, perhaps by way of another port."""
        return Peer(f"127.0.0.1:{port or self.port}", context, token, pauses=PAUSES)

    def partials(self) -> list[str]:
        return [path.name for path in (self.store.root / "tmp").glob("partial-*")]


@contextlib.contextmanager
def agent(root: Path, *, token: str | None = TOKEN, context: ssl.SSLContext | None = None) -> Iterator[Agent]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    store = LocalStore(root)

    async def start() -> tuple[ObjectServer, int]:
        server = ObjectServer(store, token=token, context=context)
        return server, await server.start()

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield Agent(store, server, loop, port)
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: ObjectServer) -> None:
    await server.stop()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait(rest, timeout=5) if rest else None


def add(store: LocalStore, data: bytes) -> Digest:
    with store.scratch() as folder:
        path = folder / "file"
        path.write_bytes(data)
        return store.put(path)


def some(size: int) -> bytes:
    return os.urandom(size)


@dataclass
class Line:
    """A line to an agent, which is cut once a connection has carried so many bytes in one direction."""

    port: int
    cuts: list[tuple[str, int]]
    from_connection: int = 1
    carried: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    connections: int = 0


@contextlib.contextmanager
def line(port: int, *cuts: tuple[str, int], from_connection: int = 1) -> Iterator[Line]:
    """`cuts`: for each cut its direction, `up` or `down`, and how many bytes of a connection arrive before it."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Line(listener.getsockname()[1], list(cuts), from_connection)
    threads: list[threading.Thread] = []
    ended: Counter[frozenset[socket.socket]] = Counter()
    mutex = threading.Lock()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            made.connections += 1
            server = socket.create_connection(("127.0.0.1", port))
            for ends in (("up", client, server), ("down", server, client)):
                threads.append(threading.Thread(target=carry, args=(made.connections, *ends), daemon=True))
                threads[-1].start()

    def carry(number: int, way: str, source: socket.socket, target: socket.socket) -> None:
        so_far = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                at = made.cuts[0] if made.cuts and number >= made.from_connection else ("", 0)
                over = at[0] == way and so_far + len(data) > at[1]
                data = data[: at[1] - so_far] if over else data
                so_far += len(data)
                made.carried[way] += len(data)
                if over:
                    made.cuts.pop(0)
                target.sendall(data)
                if over:
                    break
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with mutex:
            over = frozenset((source, target))
            ended[over] += 1
            if ended[over] == 2:  # what was not read makes this system tell the other side at once
                source.close()
                target.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for one in (thread, *threads):
            one.join()
