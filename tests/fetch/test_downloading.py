"""A file is fetched whole, whatever its server does, or it is not fetched and the reason is said."""

from __future__ import annotations

import hashlib
import http.client
import random
import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest

import trtpipe.fetch
from tests.fetch import servers
from tests.fetch.servers import Server
from trtpipe.errors import StepFailed
from trtpipe.fetch import Fetched, Patience, download
from trtpipe.loader.remotes import remote_file
from trtpipe.plan.child_reports import Download

DATA = random.Random(7).randbytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(stall=5.0, tries=3, pause=0.0)


def fetched(url: str, folder: Path, pin: str = "", patience: Patience = QUICK) -> Fetched:
    return download(remote_file(url, pin), folder, lambda event: None, patience)


def refusal(url: str, folder: Path, pin: str = "", patience: Patience = QUICK) -> str:
    with pytest.raises(StepFailed) as caught:
        fetched(url, folder, pin, patience)
    return str(caught.value)


@pytest.fixture
def url(server: Server) -> str:
    return server.put("/models/net.onnx", DATA)


def starts(server: Server) -> list[str]:
    return [one.headers.get("Range", "") for one in server.seen]


def test_a_file_arrives_whole(server: Server, url: str, tmp_path: Path) -> None:
    found = fetched(url, tmp_path, SHA256)

    assert found.path.read_bytes() == DATA
    assert (found.sha256, found.size) == (SHA256, len(DATA))
    assert len(server.seen) == 1


def test_an_empty_file_arrives_too(server: Server, tmp_path: Path) -> None:
    found = fetched(server.put("/empty", b"x"), tmp_path)

    assert found.size == 1


def test_what_is_heard_tells_how_far_it_is(url: str, tmp_path: Path) -> None:
    heard: list[Download] = []

    download(remote_file(url), tmp_path, heard.append, QUICK)

    assert heard[0].state == "begin"
    assert heard[-1] == Download("end", url, len(DATA), len(DATA))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("etags", [True, False], ids=["etag", "date"])
def test_a_connection_that_is_cut_again_and_again_is_gone_on_with(
    server: Server, url: str, tmp_path: Path, seed: int, etags: bool
) -> None:
    chance = random.Random(seed)
    server.etags = etags
    server.acts["/models/net.onnx"] = [servers.cut(chance.randrange(1, 500_000)) for _ in range(5)]

    found = fetched(url, tmp_path)

    assert found.path.read_bytes() == DATA
    asked = [int(text.removeprefix("bytes=").rstrip("-") or 0) for text in starts(server)]
    assert len(asked) == 6
    assert asked == sorted(set(asked))


def test_it_goes_on_where_another_process_was_stopped(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/models/net.onnx"] = servers.cut(700_000)
    refusal(url, tmp_path, patience=Patience(pause=0.0, tries=0))
    del server.always["/models/net.onnx"]
    server.seen.clear()

    found = fetched(url, tmp_path)

    assert found.path.read_bytes() == DATA
    assert starts(server) == ["bytes=700000-"]


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(
    server: Server, url: str, tmp_path: Path
) -> None:
    server.acts["/models/net.onnx"] = [servers.cut(1_000_000)]
    server.ranges = False

    assert fetched(url, tmp_path).path.read_bytes() == DATA
    assert starts(server) == ["", "bytes=1000000-"]


@pytest.mark.parametrize("heeds", [True, False], ids=["if-range heeded", "if-range ignored"])
@pytest.mark.parametrize("size", [len(DATA), 2_000_000, 4_000_000, 900_000])
def test_a_file_that_changed_in_between_is_fetched_anew(
    server: Server, url: str, tmp_path: Path, heeds: bool, size: int
) -> None:
    changed = random.Random(8).randbytes(size)
    server.heed_if_range = heeds

    def cut_and_change(handler: servers.Handler, data: bytes) -> None:
        servers.cut(1_000_000)(handler, data)
        server.files["/models/net.onnx"] = changed

    server.acts["/models/net.onnx"] = [cut_and_change]

    assert fetched(url, tmp_path).path.read_bytes() == changed


def test_parts_that_do_not_make_the_pinned_file_are_thrown_away_once(
    server: Server, url: str, tmp_path: Path
) -> None:
    """A server without any mark, whose file changed: only the pin can tell."""
    server.acts["/models/net.onnx"] = [servers.cut(1_000_000)]
    refusal(url, tmp_path, patience=Patience(pause=0.0, tries=0))
    spoiled = bytearray((tmp_path / "file").read_bytes())
    spoiled[5] ^= 1
    (tmp_path / "file").write_bytes(spoiled)

    assert fetched(url, tmp_path, SHA256).path.read_bytes() == DATA


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(url: str, tmp_path: Path) -> None:
    said = refusal(url, tmp_path, "0" * 64)

    assert said == (
        f"cannot fetch {url}: it is not the pinned file: its sha256 is {SHA256}\n"
        f"  check the file's origin, then pin this digest: sha256: {SHA256}"
    )
    assert not list(tmp_path.iterdir())


def test_a_server_that_announces_more_than_it_has_is_given_up(
    server: Server, url: str, tmp_path: Path
) -> None:
    server.always["/models/net.onnx"] = servers.announce(len(DATA) + 10)

    said = refusal(url, tmp_path)

    assert f"the connection ended after {len(DATA)} of {len(DATA) + 10} bytes (tried 3 times)" in said


def test_a_server_that_announces_less_than_it_has_is_caught_by_the_pin(
    server: Server, url: str, tmp_path: Path
) -> None:
    server.always["/models/net.onnx"] = servers.announce(1000)

    assert "it is not the pinned file" in refusal(url, tmp_path, SHA256)


def test_what_fits_no_disk_is_refused_before_it_is_written(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/models/net.onnx"] = servers.announce(1 << 50)

    said = refusal(url, tmp_path)

    assert "it needs 1024.0 TiB more, and " in said
    assert (tmp_path / "file").stat().st_size == 0


def test_a_file_of_unknown_length_stops_before_the_disk_is_full(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always["/models/net.onnx"] = servers.chunked(*[DATA] * 20)
    usage = namedtuple("usage", "total used free")
    free = iter([1 << 40, 1 << 10])
    monkeypatch.setattr(trtpipe.fetch.shutil, "disk_usage", lambda _: usage(1 << 40, 0, next(free)))

    assert "the server does not report its size, and 1.0 KiB are free" in refusal(url, tmp_path)
    assert not list(tmp_path.iterdir())


def test_chunks_are_put_together(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/models/net.onnx"] = servers.chunked(DATA[:10], DATA[10:2_000_000], DATA[2_000_000:])

    assert fetched(url, tmp_path).sha256 == SHA256


def test_chunks_that_end_early_are_no_file(server: Server, url: str, tmp_path: Path) -> None:
    server.acts["/models/net.onnx"] = [servers.chunked(DATA[:1000], whole=False)]

    assert fetched(url, tmp_path).sha256 == SHA256


def test_without_a_length_only_a_pin_tells_the_end(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/models/net.onnx"] = servers.endless

    assert "the server does not report its length\n  pin it" in refusal(url, tmp_path)
    assert fetched(url, tmp_path, SHA256).sha256 == SHA256


@pytest.mark.parametrize("code", [500, 502, 503, 504, 429, 408])
def test_trouble_that_passes_is_waited_for(server: Server, url: str, tmp_path: Path, code: int) -> None:
    server.acts["/models/net.onnx"] = [servers.status(code, Retry_After="0"), servers.status(code)]

    assert fetched(url, tmp_path).sha256 == SHA256
    assert len(server.seen) == 3


def test_trouble_that_stays_is_given_up(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/models/net.onnx"] = servers.status(503)

    assert refusal(url, tmp_path) == (
        f"cannot fetch {url}: the server answered 503 service unavailable (tried 3 times)\n"
        "  try again later: the download resumes where it stopped"
    )
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("code", "words"), [(404, "404 not found"), (403, "403 forbidden"), (410, "410 gone")]
)
def test_a_refusal_is_taken_for_an_answer(
    server: Server, url: str, tmp_path: Path, code: int, words: str
) -> None:
    server.always["/models/net.onnx"] = servers.status(code)

    assert f"the server answered {words}\n" in refusal(url, tmp_path)
    assert len(server.seen) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with servers.running() as gone:
        url = gone.url("/net.onnx")

    assert "no connection: connection refused (tried 3 times)" in refusal(url, tmp_path)


def test_a_server_that_trickles_is_given_up(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/models/net.onnx"] = servers.trickle(60, 0.05)

    said = refusal(url, tmp_path, patience=Patience(stall=0.4, tries=1, pause=0.0))

    assert "the server sent only" in said


def test_a_server_that_falls_silent_is_asked_again(server: Server, url: str, tmp_path: Path) -> None:
    server.acts["/models/net.onnx"] = [servers.trickle(1, 3.0, 100_000)]

    found = fetched(url, tmp_path, patience=Patience(stall=0.4, tries=3, pause=0.0))

    assert found.sha256 == SHA256
    assert starts(server) == ["", "bytes=100000-"]


def test_headers_that_never_end_are_given_up(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/models/net.onnx"] = servers.silent_head(20)

    said = refusal(url, tmp_path, patience=Patience(stall=0.4, tries=1, pause=0.0))

    assert "the server stopped responding (tried 1 times)" in said


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), http.client.BadStatusLine("")], ids=repr)
def test_what_the_end_of_our_patience_breaks_is_no_fault_of_the_connection(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(self: http.client.HTTPConnection) -> http.client.HTTPResponse:
        time.sleep(0.3)
        raise error

    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", broken)

    said = refusal(url, tmp_path, patience=Patience(stall=0.1, tries=1, pause=0.0))

    assert "the server stopped responding (tried 1 times)" in said


def test_redirects_are_followed_and_their_range_too(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/a"] = servers.redirect("/b")
    server.always["/b"] = servers.redirect(url, 307)
    server.acts["/models/net.onnx"] = [servers.cut(5000)]

    assert fetched(server.url("/a"), tmp_path).sha256 == SHA256
    assert server.seen[-1].headers["Range"] == "bytes=5000-"


def test_a_loop_of_redirects_ends(server: Server, tmp_path: Path) -> None:
    server.always["/a"] = servers.redirect("/b")
    server.always["/b"] = servers.redirect("/a")

    assert "the server redirects more often than 10 times" in refusal(server.url("/a"), tmp_path)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("file:///etc/passwd", "not an https:// address"),
        ("ftp://127.0.0.1/x", "not an https:// address"),
        ("data:text/plain,hello", "not an https:// address"),
        ("http://example.com/net.onnx", "plain http"),
        ("https://user:geheim@example.com/net.onnx", "an address with a user name"),
        ("", "not an https:// address"),
    ],
)
def test_a_redirect_to_where_it_is_not_safe_is_refused(
    server: Server, tmp_path: Path, target: str, why: str
) -> None:
    server.always["/a"] = servers.redirect(target)

    said = refusal(server.url("/a"), tmp_path)

    assert why in said
    assert "geheim" not in said
    assert len(server.seen) == 1


def test_a_compressed_answer_is_refused(server: Server, url: str, tmp_path: Path) -> None:
    server.always["/models/net.onnx"] = servers.status(200, Content_Encoding="gzip")

    assert "the server sends it as 'gzip'" in refusal(url, tmp_path)


def test_no_query_is_said(server: Server, tmp_path: Path) -> None:
    said = refusal(server.url("/none.onnx?sig=geheim&x=1"), tmp_path)

    assert "geheim" not in said
    assert "/none.onnx?…: the server answered 404" in said


def test_garbage_in_the_partial_file_s_mark_counts_as_nothing(
    server: Server, url: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    (tmp_path / "mark.json").write_text("[1")

    assert fetched(url, tmp_path).sha256 == SHA256
    assert starts(server) == [""]


def test_a_full_disk_is_told(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(trtpipe.fetch.shutil, "disk_usage", lambda _: usage._replace(free=1000))

    assert "free some space, or set $TRTPIPE_STORE to a directory on another disk" in refusal(url, tmp_path)
