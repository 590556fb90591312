"""A client's side of the transfer of artifacts: asks one agent what it lacks, sends artifacts and receives them.

A connection that breaks is made again a few times, and the transfer goes on where it stopped. Received bytes enter the
store only when they are those of the digest. At most a piece of an artifact is in memory at once. `object_server.py`
describes the requests.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import json
import random
import re
import secrets
import ssl
import threading
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from trtpipe.digests import Digest, digest_file, same_digest
from trtpipe.errors import ArtifactMissing, StoreError
from trtpipe.fleet.certificates import words_of_refusal
from trtpipe.json_values import Malformed, read_object, texts_in
from trtpipe.problem_codes import Code
from trtpipe.stores.faults import mapped
from trtpipe.stores.local import LocalStore

T = TypeVar("T")

_PIECE = 1 << 20
_MOST_DIGESTS = 20_000
"""More than that an agent does not answer at once."""
_MOST_ANSWER = 4 << 20
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_LISTEN_SECONDS = 2.0
_STORED_BYTES = 50e6
"""How many bytes a second an agent checks and flushes to its disk at least, before it answers that it has them."""
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
_SAME_FLEET = "give both the certificates of the same fleet"
USE_A_REMOTE = (
    "set TRTPIPE_REMOTE=s3://BUCKET/PREFIX and TRTPIPE_REMOTE_MODE=read-write here and for the agent: "
    "artifacts then go through that store"
)
"""The remedy where an agent cannot be sent artifacts directly."""
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/\d{1,18}", re.ASCII)


class _Broken(Exception):
    """A connection broke; another one may be luckier."""


class Peer:
    """One agent, at `HOST:PORT`. Used from several threads.

    `context` is a TLS context with this client's certificate; without it the connection is plain. `token` is what an
    agent without TLS asks for. `pauses` are the seconds to wait between attempts that bring no progress; there are no
    more attempts once `is_there` says that the agent has gone.
    """

    def __init__(
        self,
        address: str,
        context: ssl.SSLContext | None = None,
        token: str | None = None,
        *,
        pauses: Sequence[float] = _PAUSES,
        is_there: Callable[[], bool] = lambda: True,
    ) -> None:
        self.address = address
        self._host, self._port = _host_and_port(address)
        self._context = context
        self._token = token
        self._pauses = pauses
        self._is_there = is_there
        self._client = secrets.token_hex(16)
        self._reached = False
        self._answered = False
        self._mutex = threading.Lock()
        self._transfers: defaultdict[Digest, threading.Lock] = defaultdict(threading.Lock)

    def missing(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        """Those artifacts that the agent's store lacks. Raises StoreError."""
        wanted = list(dict.fromkeys(digests))
        found: set[Digest] = set()
        for start in range(0, len(wanted), _MOST_DIGESTS):
            some = wanted[start : start + _MOST_DIGESTS]
            found |= self._persist("asking what it lacks", functools.partial(self._missing, some))
        return frozenset(found)

    def greet(self) -> None:
        """Make sure that the agent answers and accepts this client. Raises StoreError."""
        self._persist("greeting it", functools.partial(self._missing, ()))

    def send(self, digest: Digest, store: LocalStore) -> None:
        """Send an artifact, unless the agent has it by now. Raises StoreError, also when the store lacks it."""
        with mapped(store.root):
            path = store.path(digest)
        self.send_file(digest, path)

    def send_file(self, digest: Digest, path: Path) -> None:
        """Send a file whose digest that is, unless the agent has those bytes by now. Raises StoreError."""
        with self._alone(digest), mapped(path):
            sent = [0]
            self._persist(
                f"sending artifact {digest.short}", lambda: self._send(digest, path, sent), lambda: sent[0]
            )

    def receive(self, digest: Digest, store: LocalStore) -> None:
        """Bring an artifact into a store, unless it is there. Raises StoreError, or ArtifactMissing."""
        with self._alone(digest), mapped(store.root):
            if store.has_here(digest):
                return
            with store.scratch() as folder:
                file = folder / digest.hex
                file.touch()
                self._persist(
                    f"receiving artifact {digest.short}",
                    lambda: self._receive(digest, file),
                    lambda: file.stat().st_size,
                )
                found = digest_file(file)
                if not same_digest(found, digest):
                    raise self._odd(
                        f"sent other bytes than those of artifact {digest.short}: {found.short}; "
                        "they were thrown away"
                    )
                store.put(file, found)

    # -- one attempt

    def _missing(self, digests: Sequence[Digest]) -> set[Digest]:
        body = json.dumps({"digests": [str(one) for one in digests]}).encode()
        with self._request("POST", "/missing", {"Content-Length": str(len(body))}, [body]) as response:
            self._require(response, 200)
            with self._network():
                text = response.read(_MOST_ANSWER)
        try:
            found = {Digest.parse(one) for one in texts_in(read_object(text), "missing")}
        except (Malformed, ValueError) as error:
            raise self._odd("did not answer with a list of digests") from error
        return found & set(digests)

    def _send(self, digest: Digest, path: Path, sent: list[int]) -> None:
        offset = self._offset(digest)
        if offset is None:
            return
        sent[0] = offset
        headers = {
            "Upload-Id": self._client,
            "Upload-Offset": str(offset),
            "Content-Length": str(digest.size - offset),
        }
        with path.open("rb") as file:
            file.seek(offset)
            pieces = _pieces(file, digest.size - offset)
            with self._request(
                "PUT", _place(digest), headers, pieces, digest.size / _STORED_BYTES
            ) as response:
                if response.status == 409:
                    raise _Broken("another connection has sent more")
                self._require(response, 201)

    def _offset(self, digest: Digest) -> int | None:
        """How many bytes of an artifact the agent has from this client; None if it has the artifact."""
        with self._request("HEAD", _place(digest), {"Upload-Id": self._client}) as response:
            if response.status == 200:
                return None
            if response.status != 404:
                self._require(response, 200)
            text = response.headers.get("Upload-Offset", "")
        if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text) <= digest.size):
            raise self._odd(f"said that an upload has {text[:40]!r} bytes")
        return int(text)

    def _receive(self, digest: Digest, file: Path) -> None:
        start = file.stat().st_size
        if start and start == digest.size:
            return
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._request("GET", _place(digest), headers) as response:
            if response.status == 404:
                raise ArtifactMissing(
                    Code.NO_ARTIFACT, f"the agent {self.address} has no artifact {digest.short}"
                )
            self._require(response, 206 if start else 200)
            part = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if start and (part is None or int(part[1]) != start):
                raise self._odd("sent another part of an artifact than was asked for")
            if response.headers.get("Content-Length", "") != str(digest.size - start):
                raise self._odd(f"sent more or less than the {digest.size} bytes of artifact {digest.short}")
            with file.open("ab", buffering=0) as out:
                self._copy(response, out, digest.size - start)

    def _copy(self, response: http.client.HTTPResponse, out: BinaryIO, size: int) -> None:
        while size:
            with self._network():
                piece = response.read1(min(_PIECE, size))
            if not piece:
                raise _Broken("it ended too early")
            size -= len(piece)
            view = memoryview(piece)
            while view:
                view = view[out.write(view) :]

    # -- requests

    @contextlib.contextmanager
    def _request(
        self,
        method: str,
        place: str,
        headers: Mapping[str, str],
        pieces: Iterable[bytes] = (),
        more_patience: float = 0.0,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to a request on a connection of its own, which is closed afterwards."""
        with contextlib.closing(self._dial()) as connection:
            with self._network():
                connection.putrequest(method, place, skip_accept_encoding=True)
                for name, value in {**headers, **self._authorization()}.items():
                    connection.putheader(name, value)
            self._transmit(connection, pieces)
            connection.sock.settimeout(_READ_SECONDS + more_patience)
            response = self._answer(connection)
            with contextlib.closing(response):
                yield response

    def _answer(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        try:
            with self._network():
                response = connection.getresponse()
        except _Broken:
            if self._context is not None and not self._answered:
                self._listen()
            raise
        self._answered = True
        return response

    def _listen(self) -> None:
        """Connect without asking anything, for an agent that hangs up. Raises StoreError if it refuses this client.

        With TLS 1.3 an agent checks a client's certificate only after the client's handshake is done. A request that
        was sent by then makes its kernel reset the connection, and the alert that says why is lost.
        """
        with contextlib.closing(self._dial()) as connection, contextlib.suppress(_Broken), self._network():
            connection.sock.settimeout(_LISTEN_SECONDS)
            connection.sock.recv(1)

    def _transmit(self, connection: http.client.HTTPConnection, pieces: Iterable[bytes]) -> None:
        """Send headers and body. An agent that hangs up meanwhile may have answered why, which is read next."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            with self._network(hung_up=True):
                connection.endheaders()
            for piece in pieces:
                with self._network(hung_up=True):
                    connection.send(piece)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _dial(self) -> http.client.HTTPConnection:
        """A new connection. Raises StoreError, or _Broken if an earlier connection to this agent has worked."""
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_SECONDS)
            if self._context is None
            else http.client.HTTPSConnection(
                self._host, self._port, timeout=_CONNECT_SECONDS, context=self._context
            )
        )
        try:
            with self._network():
                connection.connect()
        except _Broken as broken:
            connection.close()
            if self._reached:
                raise
            raise self._unreachable(f"the agent {self.address} cannot be reached: {broken}") from broken
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(_READ_SECONDS)
        self._reached = True
        return connection

    def _persist(self, work: str, attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Try until it works, or until several attempts in a row brought no progress."""
        furthest, fruitless = 0, 0
        while True:
            try:
                return attempt()
            except _Broken as broken:  # noqa: PERF203 - that is what the loop is for
                if progress() > furthest:
                    furthest, fruitless = progress(), 0
                if fruitless == len(self._pauses) or not self._is_there():
                    raise self._unreachable(
                        f"the connection to the agent {self.address} broke while {work}: {broken}; "
                        f"tried {fruitless + 1} times"
                    ) from broken
                time.sleep(self._pauses[fruitless] * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                fruitless += 1

    @contextlib.contextmanager
    def _alone(self, digest: Digest) -> Iterator[None]:
        """Hold the right to transfer that artifact from or to this agent."""
        with self._mutex:
            lock = self._transfers[digest]
        with lock:
            yield

    # -- what goes wrong

    @contextlib.contextmanager
    def _network(self, *, hung_up: bool = False) -> Iterator[None]:
        """Turn errors of the connection into _Broken, or StoreError if another attempt would not help.

        With `hung_up`, the error of a connection that the agent has closed stays as it is.
        """
        try:
            yield
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise _Broken("the agent hung up") from error
        except ssl.SSLError as error:
            raise self._refused(words_of_refusal(error), _SAME_FLEET) from error
        except (BrokenPipeError, ConnectionResetError) as error:
            if hung_up:
                raise
            raise _Broken("the agent hung up") from error
        except TimeoutError as error:
            raise _Broken("the agent does not answer") from error
        except http.client.HTTPException as error:
            raise _Broken(f"the agent does not speak HTTP ({type(error).__name__})") from error
        except OSError as error:
            raise _Broken((error.strerror or str(error)).lower()) from error

    def _require(self, response: http.client.HTTPResponse, status: int) -> None:
        """Raises StoreError unless the agent's answer has that status."""
        if response.status == status:
            return
        with self._network():
            why = " ".join(response.read(500).decode(errors="replace").split())
        if response.status == 401:
            raise self._refused("the token is wrong")
        if response.status == 507:
            raise StoreError(
                Code.DISK_FULL,
                f"the agent {self.address} has no space left on its disk",
                "free some space there",
            )
        raise self._odd(f"answered {response.status}" + (f": {why}" if why else ""))

    def _refused(self, why: str, remedy: str = "") -> StoreError:
        fact = f"the agent {self.address} and this client do not trust each other: {why}"
        return StoreError(Code.AGENT_REFUSED, fact, remedy)

    def _odd(self, what: str) -> StoreError:
        return StoreError(Code.AGENT_ANSWER, f"the agent {self.address} {what}")

    def _unreachable(self, fact: str) -> StoreError:
        return StoreError(
            Code.AGENT_UNREACHABLE, fact, f"where clients cannot connect to agents, {USE_A_REMOTE}"
        )


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urllib.parse.urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.username is not None or parts.netloc != address:
        raise StoreError(
            Code.AGENT_UNREACHABLE,
            f"{address!r} is not the address of an agent",
            "start the agent with --host and the name or IP address of its machine",
        )
    return host, port


def _place(digest: Digest) -> str:
    return f"/objects/{digest}"


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The next `size` bytes of a file. Raises OSError if it ends before."""
    while size:
        piece = file.read(min(_PIECE, size))
        if not piece:
            raise OSError(errno.EIO, "the artifact became shorter", file.name)
        size -= len(piece)
        yield piece
