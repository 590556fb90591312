"""Artifacts travel between a client and an agent whole, once, in bounded memory, and only to those who may."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fleet import agents
from tests.fleet.agents import TOKEN, Agent, add, line, some
from trtpipe.digests import Digest, digest_bytes
from trtpipe.errors import ArtifactMissing, StoreError
from trtpipe.fleet import object_client, uploads
from trtpipe.fleet.object_client import Peer
from trtpipe.fleet.object_server import MOST_DIGESTS
from trtpipe.fleet.places import bracketed
from trtpipe.fleet.uploads import Upload
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore

MB = 1 << 20


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with agents.agent(tmp_path / "agent") as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "client")


def refusal(error: pytest.ExceptionInfo[StoreError]) -> tuple[Code, str]:
    (problem,) = error.value.problems
    return problem.code, str(problem)


class TestRoundTrip:
    @pytest.mark.parametrize("size", [0, 1, 1000, MB, 3 * MB + 7])
    def test_what_is_sent_comes_back(self, agent: Agent, store: LocalStore, tmp_path: Path, size: int):
        data = some(size)
        digest = add(store, data)
        peer = agent.peer()

        assert peer.missing([digest]) == {digest}
        peer.send(digest, store)
        assert peer.missing([digest]) == frozenset()
        assert agent.partials() == []

        other = LocalStore(tmp_path / "other")
        peer.receive(digest, other)
        assert other.path(digest).read_bytes() == data

    def test_memory_is_bounded(self, agent: Agent, store: LocalStore, tmp_path: Path):
        digest = add(store, some(50 * MB))
        other = LocalStore(tmp_path / "other")
        peer = agent.peer()
        tracemalloc.start()
        try:
            peer.send(digest, store)
            peer.receive(digest, other)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert other.has(digest)
        assert peak < 12 * MB

    def test_the_event_loop_does_not_wait_for_the_disk(
        self, agent: Agent, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ):
        digest = add(store, some(1000))
        append, gaps = Upload.append, []

        def slow(self: Upload, piece: bytes) -> None:
            time.sleep(0.5)
            append(self, piece)

        async def beat() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                gaps.append(time.monotonic() - before)

        monkeypatch.setattr(Upload, "append", slow)
        beating = asyncio.run_coroutine_threadsafe(beat(), agent.loop)
        agent.peer().send(digest, store)
        beating.cancel()

        assert agent.store.has(digest)
        assert max(gaps) < 0.4

    def test_an_artifact_that_the_agent_has_is_not_sent(self, agent: Agent, store: LocalStore):
        data = some(3 * MB)
        digest = add(store, data)
        add(agent.store, data)

        with line(agent.port) as way:
            agent.peer(way.port).send(digest, store)

        assert way.carried["up"] < 1000

    def test_an_artifact_that_is_here_is_not_asked_for(self, agent: Agent, store: LocalStore):
        digest = add(store, b"here")

        with line(agent.port) as way:
            agent.peer(way.port).receive(digest, store)

        assert way.connections == 0

    def test_an_artifact_that_the_agent_lacks_is_missing(self, agent: Agent, store: LocalStore):
        with pytest.raises(ArtifactMissing) as caught:
            agent.peer().receive(digest_bytes(b"nowhere"), store)

        assert agent.address in str(caught.value)

    def test_an_artifact_that_the_client_lacks_is_not_sent(self, agent: Agent, store: LocalStore):
        with pytest.raises(ArtifactMissing):
            agent.peer().send(digest_bytes(b"nowhere"), store)

    def test_which_of_ten_thousand_are_missing_is_one_request(self, agent: Agent):
        there = {add(agent.store, str(number).encode()) for number in range(3)}
        absent = {digest_bytes(str(number).encode()) for number in range(3, 10_000)}

        with line(agent.port) as way:
            assert agent.peer(way.port).missing([*there, *absent]) == absent

        assert way.connections == 1

    def test_more_than_an_agent_answers_at_once_are_several_requests(self, agent: Agent):
        absent = {Digest(f"{number:064x}", number) for number in range(MOST_DIGESTS + 1)}

        with line(agent.port) as way:
            assert agent.peer(way.port).missing(absent) == absent

        assert way.connections == 2
        assert object_client._MOST_DIGESTS == MOST_DIGESTS

    def test_two_threads_send_an_artifact_once(self, agent: Agent, store: LocalStore):
        size = 4 * MB
        digest = add(store, some(size))

        with line(agent.port) as way:
            peer = agent.peer(way.port)
            threads = [threading.Thread(target=peer.send, args=(digest, store)) for _ in range(4)]
            for one in threads:
                one.start()
            for one in threads:
                one.join()

        assert agent.store.has(digest)
        assert size < way.carried["up"] < size + 10_000

    def test_two_clients_that_send_the_same_do_not_disturb_each_other(
        self, agent: Agent, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ):
        digest = add(store, some(2 * MB))
        both, append = threading.Barrier(2, timeout=10), Upload.append
        waited: set[int] = set()

        def together(self: Upload, piece: bytes) -> None:
            if id(self) not in waited:  # both have begun before one goes on
                waited.add(id(self))
                both.wait()
            append(self, piece)

        monkeypatch.setattr(Upload, "append", together)
        threads = [threading.Thread(target=agent.peer().send, args=(digest, store)) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

        assert len(waited) == 2
        assert agent.store.path(digest)
        assert agent.partials() == []


class TestCuts:
    def test_sending_goes_on_where_the_connection_broke(self, agent: Agent, store: LocalStore):
        size = 20 * MB
        digest = add(store, some(size))

        with line(agent.port, ("up", 8 * MB), ("up", 6 * MB)) as way:
            agent.peer(way.port).send(digest, store)

        assert agent.store.path(digest)
        assert way.cuts == []
        assert size < way.carried["up"] < size + 10 * MB, "what was on its way is sent again, not all"

    def test_receiving_goes_on_where_the_connection_broke(self, agent: Agent, store: LocalStore):
        size = 20 * MB
        digest = add(agent.store, some(size))

        with line(agent.port, ("down", 8 * MB), ("down", 6 * MB)) as way:
            agent.peer(way.port).receive(digest, store)

        assert store.path(digest)
        assert way.cuts == []
        assert size < way.carried["down"] < size + 10 * MB

    def test_an_answer_that_is_lost_is_asked_for_again(self, agent: Agent, store: LocalStore):
        """The artifact arrived whole, and the connection broke before the agent could say so."""
        digest = add(store, some(1000))

        with line(agent.port, ("down", 1), from_connection=2) as way:
            agent.peer(way.port).send(digest, store)

        assert agent.store.has(digest)
        assert way.cuts == []
        assert way.connections == 3, "where to begin, the bytes, and whether they arrived"
        assert 1000 < way.carried["up"] < 2000, "they are not sent twice"

    def test_progress_is_worth_more_attempts_than_there_are_pauses(self, agent: Agent, store: LocalStore):
        digest = add(agent.store, some(10 * MB))

        with line(agent.port, *[("down", MB)] * 7) as way:
            agent.peer(way.port).receive(digest, store)

        assert way.cuts == []
        assert len(agents.PAUSES) < 7

    def test_a_connection_that_always_breaks_is_an_error(self, agent: Agent, store: LocalStore):
        digest = add(agent.store, some(1000))

        with line(agent.port, *[("up", 1)] * 100) as way, pytest.raises(StoreError) as caught:
            agent.peer(way.port).receive(digest, store)

        code, said = refusal(caught)
        assert code is Code.AGENT_UNREACHABLE
        assert f"the connection to the agent 127.0.0.1:{way.port} broke while receiving" in said
        assert "tried 5 times" in said
        assert way.connections == 5

    def test_a_later_connection_takes_an_upload_over(self, agent: Agent):
        """The agent does not know yet that the first is gone, and bytes of it may still arrive."""
        data = some(100_000)
        digest = digest_bytes(data)
        first = put(agent, digest, "a" * 32, 0, len(data))
        first.send(data[:1000])
        wait_for_upload(agent, digest, "a" * 32, 1000)

        second = put(agent, digest, "a" * 32, 1000, len(data) - 1000)
        second.send(data[1000:2000])
        wait_for_upload(agent, digest, "a" * 32, 2000)
        with pytest.raises((OSError, http.client.HTTPException)):
            first.send(b"x" * 98_000)
            first.sock.settimeout(5)
            first.getresponse()
        second.send(data[2000:])

        assert second.getresponse().status == 201
        assert agent.store.path(digest).read_bytes() == data
        first.close()
        second.close()

    def test_uploads_that_nobody_continued_are_removed_at_start(self, tmp_path: Path):
        store = LocalStore(tmp_path / "agent")
        old, new = (
            store.partial(f"upload-{'1' * 64}-{'a' * 32}"),
            store.partial(f"upload-{'2' * 64}-{'a' * 32}"),
        )
        download = store.partial("3" * 64)
        for folder in (old, download):
            os.utime(folder, (time.time() - 25 * 3600,) * 2)

        with agents.agent(tmp_path / "agent"):
            assert not old.exists()
            assert new.exists()
            assert download.exists(), "that is none of an agent's uploads"


def put(agent: Agent, digest: Digest, client: str, offset: int, length: int) -> http.client.HTTPConnection:
    """A request to upload, whose body follows."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    connection.putrequest("PUT", f"/objects/{digest}")
    for name, value in {
        "Authorization": f"Bearer {TOKEN}",
        "Upload-Id": client,
        "Upload-Offset": str(offset),
        "Content-Length": str(length),
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def wait_for_upload(agent: Agent, digest: Digest, client: str, size: int) -> None:
    file = agent.store.root / "tmp" / f"partial-upload-{digest.hex}-{client}" / "file"
    until = time.monotonic() + 10
    while not (file.exists() and file.stat().st_size == size):
        assert time.monotonic() < until
        time.sleep(0.01)


def ask(
    agent: Agent, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read(), dict(response.headers)
    finally:
        connection.close()


class TestWrongBytes:
    def test_an_upload_of_other_bytes_is_refused_and_removed(self, agent: Agent):
        digest = digest_bytes(b"right")
        connection = put(agent, digest, "a" * 32, 0, 5)
        connection.send(b"wrong")

        assert connection.getresponse().status == 422
        connection.close()
        assert not agent.store.has(digest)
        assert not agent.store.has(digest_bytes(b"wrong"))
        assert agent.partials() == []

    def test_the_client_says_so(self, agent: Agent, store: LocalStore, tmp_path: Path):
        class Changing(LocalStore):
            """Its files change after they were verified."""

            def path(self, digest: Digest) -> Path:
                (tmp_path / "wrong").write_bytes(b"wrong")
                return tmp_path / "wrong"

        with pytest.raises(StoreError) as caught:
            agent.peer().send(digest_bytes(b"right"), Changing(tmp_path / "client"))

        code, said = refusal(caught)
        assert code is Code.AGENT_ANSWER
        assert f"the agent {agent.address} answered 422: the bytes that arrived are not" in said

    def test_a_damaged_artifact_of_the_client_is_not_sent(self, agent: Agent, store: LocalStore):
        digest = add(store, b"right")
        damage(store, digest)

        with pytest.raises(StoreError, match="is damaged"):
            agent.peer().send(digest, store)

    def test_a_damaged_artifact_of_the_agent_does_not_enter_the_store(self, agent: Agent, store: LocalStore):
        digest = add(agent.store, b"right")
        damage(agent.store, digest)

        with pytest.raises(StoreError) as caught:
            agent.peer().receive(digest, store)

        code, said = refusal(caught)
        assert code is Code.AGENT_ANSWER
        assert f"the agent {agent.address} sent other bytes" in said
        assert not store.has(digest)
        assert not store.has(digest_bytes(b"wrong"))
        until = time.monotonic() + 10
        while agent.store.has(digest):  # the agent puts it aside when all is sent
            assert time.monotonic() < until
            time.sleep(0.01)

    @pytest.mark.parametrize(
        ("status", "headers", "body", "said"),
        [
            (200, {}, b"wrong", "sent other bytes than those of artifact"),
            (200, {}, b"right and more", "sent more or less than the 5 bytes"),
            (200, {}, b"righ", "sent more or less than the 5 bytes"),
            (206, {"Content-Range": "bytes 0-4/5"}, b"right", "answered 206"),
            (302, {"Location": "http://127.0.0.1:1/"}, b"", "answered 302"),
            (500, {}, b"a \x1b[31mbug", "answered 500: a \x1b[31mbug"),
        ],
    )
    def test_an_agent_that_lies_is_named(
        self, store: LocalStore, status: int, headers: dict[str, str], body: bytes, said: str
    ):
        with liar(status, headers, body) as port, pytest.raises(StoreError) as caught:
            Peer(f"127.0.0.1:{port}", None, TOKEN, pauses=()).receive(digest_bytes(b"right"), store)

        code, text = refusal(caught)
        assert code is Code.AGENT_ANSWER
        assert f"the agent 127.0.0.1:{port} {said}" in text
        assert not list((store.root / "objects").rglob("*/*"))

    @pytest.mark.parametrize(
        "body", [b"no JSON", b"[]", b'{"missing": [1]}', b'{"missing": ["x"]}', b"[" * 9999]
    )
    def test_an_answer_that_is_no_list_of_digests_is_an_error(self, body: bytes):
        with liar(200, {}, body) as port, pytest.raises(StoreError) as caught:
            Peer(f"127.0.0.1:{port}", None, TOKEN, pauses=()).missing([digest_bytes(b"right")])

        assert refusal(caught)[0] is Code.AGENT_ANSWER

    def test_digests_that_were_not_asked_about_are_ignored(self):
        asked, other = digest_bytes(b"right"), digest_bytes(b"other")
        body = json.dumps({"missing": [str(asked), str(other)]}).encode()

        with liar(200, {}, body) as port:
            assert Peer(f"127.0.0.1:{port}", None, TOKEN).missing([asked]) == {asked}

    @pytest.mark.parametrize("offset", ["-1", "6", "1e3", "", "9" * 30])
    def test_an_upload_cannot_begin_outside_of_the_artifact(self, store: LocalStore, offset: str):
        digest = add(store, b"right")

        with liar(404, {"Upload-Offset": offset}, b"") as port, pytest.raises(StoreError) as caught:
            Peer(f"127.0.0.1:{port}", None, TOKEN, pauses=()).send(digest, store)

        assert refusal(caught)[0] is Code.AGENT_ANSWER


def damage(store: LocalStore, digest: Digest) -> None:
    path = store.object_path(digest)
    path.chmod(0o644)
    path.write_bytes(b"wrong")


class liar:  # noqa: N801 - a context manager
    """A server that gives one answer to all."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815
            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> int:
        self.thread.start()
        return self.httpd.server_port

    def __exit__(self, *exc: object) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


class TestAddresses:
    @pytest.mark.parametrize(
        "name",
        [
            "../../etc/passwd",
            "%2e%2e/%2e%2e/etc/passwd",
            "..%2f..%2fstore.json/1",
            "a" * 64,
            f"{'a' * 63}/5",
            f"{'A' * 64}/5",
            f"{'a' * 64}/-1",
            f"{'a' * 64}/05",
            f"{'a' * 64}/{'9' * 30}",
            f"{'a' * 64}/5/..",
            f"{'a' * 64}%00/5",
            f"{'a' * 64}/5%0a",
            "",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
    def test_what_is_no_digest_is_refused(self, agent: Agent, method: str, name: str):
        headers = {"Upload-Id": "a" * 32, "Upload-Offset": "0"}

        assert ask(agent, method, f"/objects/{name}", b"" if method == "PUT" else None, headers)[0] == 400

    @pytest.mark.parametrize("path", ["/", "/traces", "/store.json", "//etc/passwd", "/objects"])
    def test_nothing_else_has_an_address(self, agent: Agent, path: str):
        assert ask(agent, "GET", path)[0] == 404

    def test_an_artifact_that_is_a_link_or_a_directory_is_none(self, agent: Agent):
        digest = digest_bytes(b"right")
        place = agent.store.object_path(digest)
        place.mkdir(parents=True)

        assert ask(agent, "GET", f"/objects/{digest}")[0] == 404
        assert ask(agent, "HEAD", f"/objects/{digest}")[0] == 404

    @pytest.mark.parametrize("client", ["", "../../x", "a" * 31, "A" * 32, "a" * 33])
    def test_a_client_s_name_is_no_path(self, agent: Agent, client: str):
        headers = {"Upload-Id": client, "Upload-Offset": "0"}
        digest = digest_bytes(b"right")

        assert ask(agent, "PUT", f"/objects/{digest}", b"right", headers)[0] == 400
        if client:
            assert ask(agent, "HEAD", f"/objects/{digest}", None, headers)[0] == 400
        assert agent.partials() == []

    @pytest.mark.parametrize(
        ("offset", "body", "status"),
        [
            ("0", b"righ", 400),
            ("0", b"right!", 400),
            ("-1", b"right", 400),
            ("x", b"right", 400),
            ("2", b"ght", 409),
        ],
    )
    def test_an_upload_that_does_not_fit_is_refused(
        self, agent: Agent, offset: str, body: bytes, status: int
    ):
        headers = {"Upload-Id": "a" * 32, "Upload-Offset": offset}

        assert ask(agent, "PUT", f"/objects/{digest_bytes(b'right')}", body, headers)[0] == status

    @pytest.mark.parametrize(
        ("asked", "status", "body", "part"),
        [
            ("", 200, b"right", None),
            ("bytes=0-", 200, b"right", None),
            ("bytes=2-", 206, b"ght", "bytes 2-4/5"),
            ("bytes=1-2", 206, b"ig", "bytes 1-2/5"),
            ("bytes=4-99", 206, b"t", "bytes 4-4/5"),
            ("bytes=5-", 416, None, None),
            ("bytes=3-2", 416, None, None),
            ("bytes=-2", 200, b"right", None),
            ("bytes=0-1,3-4", 200, b"right", None),
        ],
    )
    def test_ranges(self, agent: Agent, asked: str, status: int, body: bytes | None, part: str | None):
        digest = add(agent.store, b"right")

        answered, data, headers = ask(agent, "GET", f"/objects/{digest}", None, {"Range": asked})

        assert (answered, headers.get("Content-Range")) == (status, part)
        assert body is None or data == body

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b"no JSON",
            b'{"digests": "x"}',
            b'{"digests": ["x"]}',
            b'{"digests": ["../../etc/passwd/1"]}',
            b'{"digests": [1]}',
            b'{"digests": ["' + b"a" * 64 + b'/-5"]}',
            b'{"digests": ["' + b"a" * 64 + b"/" + b"9" * 5000 + b'"]}',
            json.dumps({"digests": [f"{'a' * 64}/1"] * (MOST_DIGESTS + 1)}).encode(),
            b"[" * 100_000,
        ],
    )
    def test_what_is_no_list_of_digests_is_refused(self, agent: Agent, body: bytes):
        assert ask(agent, "POST", "/missing", body)[0] == 400

    def test_a_request_that_is_too_large_is_refused(self, agent: Agent):
        with pytest.raises((OSError, http.client.HTTPException)):  # it hangs up, or answers 400 before
            assert ask(agent, "POST", "/missing", b" " * (5 * MB))[0] == 400
            raise http.client.HTTPException

        assert ask(agent, "POST", "/missing", b'{"digests": []}')[0] == 200


class TestWhoMay:
    @pytest.mark.parametrize(
        "authorization", [None, "", "Bearer", "Bearer a tokem", "Bearer a token2", "Basic a token", "é"]
    )
    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/"), ("POST", "/missing"), ("GET", "ours"), ("HEAD", "ours"), ("PUT", "ours")],
    )
    def test_nobody_without_the_token(self, agent: Agent, method: str, path: str, authorization: str | None):
        digest = add(agent.store, b"right")
        place = f"/objects/{digest}" if path == "ours" else path
        connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
        headers = {} if authorization is None else {"Authorization": authorization.encode()}
        connection.request(method, place, b"right" if method in ("PUT", "POST") else None, headers)

        assert connection.getresponse().status == 401
        connection.close()

    @pytest.mark.parametrize("token", [None, "another"])
    def test_the_client_says_that_the_token_is_wrong(
        self, agent: Agent, store: LocalStore, token: str | None
    ):
        digest = add(store, b"right")
        peer = agent.peer(token=token)

        for work in (lambda: peer.missing([digest]), lambda: peer.send(digest, store)):
            with pytest.raises(StoreError) as caught:
                work()
            code, said = refusal(caught)
            assert code is Code.AGENT_REFUSED
            assert agent.address in said and "the token is wrong" in said
        assert not agent.store.has(digest)

    def test_a_server_that_would_admit_anybody_is_a_bug(self, tmp_path: Path):
        with pytest.raises(AssertionError), agents.agent(tmp_path / "agent", token=None):
            pass


class TestReach:
    def test_an_agent_that_cannot_be_dialled_asks_for_a_remote(self, store: LocalStore):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            with pytest.raises(StoreError) as caught:
                Peer(f"127.0.0.1:{port}").missing([digest_bytes(b"right")])

        code, said = refusal(caught)
        assert code is Code.AGENT_UNREACHABLE
        assert caught.value.exit_code == 2
        assert f"the agent 127.0.0.1:{port} cannot be reached: connection refused" in said
        assert "TRTPIPE_REMOTE=s3://BUCKET/PREFIX" in said

    @pytest.mark.parametrize(
        "address", ["", "host", "host:", "host:x", "host:99999", "a@host:1", "host:1/x", "[::1:1"]
    )
    def test_an_address_that_is_none_is_refused(self, address: str):
        with pytest.raises(StoreError, match="is not the address of an agent"):
            Peer(address)

    @pytest.mark.parametrize("host", ["gpu1", "10.0.0.7", "fd00::7", "[fd00::7]"])
    def test_an_agent_s_host_may_be_any(self, host: str):
        assert Peer(f"{bracketed(host)}:40000").address in (f"{host}:40000", f"[{host}]:40000")

    def test_an_agent_that_says_nothing_is_given_up(self, store: LocalStore, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(object_client, "_READ_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StoreError) as caught:
            Peer(f"127.0.0.1:{silent.getsockname()[1]}", pauses=(0.01,)).missing([digest_bytes(b"right")])

        assert "the agent does not answer; tried 2 times" in str(caught.value)

    def test_a_client_that_falls_silent_is_hung_up_on(self, agent: Agent, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("trtpipe.fleet.object_server._SILENCE_SECONDS", 0.2)
        connection = put(agent, digest_bytes(b"right"), "a" * 32, 0, 5)
        connection.send(b"ri")

        with pytest.raises((OSError, http.client.HTTPException)):
            connection.getresponse()
        connection.close()


class TestFullDisk:
    def refused(self, agent: Agent, store: LocalStore, digest: Digest) -> str:
        with pytest.raises(StoreError) as caught:
            agent.peer().send(digest, store)
        code, said = refusal(caught)
        assert code is Code.DISK_FULL
        assert not agent.store.has(digest)
        assert agent.partials() == []
        return said

    def test_too_little_space_is_told_before_anything_is_sent(
        self, agent: Agent, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ):
        digest = add(store, some(1000))
        usage = uploads.shutil.disk_usage(agent.store.root)
        monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: usage._replace(free=999))

        said = self.refused(agent, store, digest)

        assert f"the agent {agent.address} has no space left on its disk" in said

    @pytest.mark.parametrize("where", ["append", "put"])
    def test_a_disk_that_fills_up_meanwhile(
        self, agent: Agent, store: LocalStore, monkeypatch: pytest.MonkeyPatch, where: str
    ):
        digest = add(store, some(5 * MB))

        def full(*args: object, **named: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        if where == "append":
            monkeypatch.setattr(Upload, "append", full)
        else:
            monkeypatch.setattr("trtpipe.stores.local.place_file", full)

        self.refused(agent, store, digest)

    def test_a_store_that_cannot_be_written_is_said(
        self, agent: Agent, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ):
        digest = add(store, some(1000))

        def refuse(*args: object) -> None:
            raise OSError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Upload, "append", refuse)
        with pytest.raises(StoreError) as caught:
            agent.peer().send(digest, store)

        assert "answered 500: its store cannot be written" in str(caught.value)
