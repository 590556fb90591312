"""s3:// and gs:// through obstore, against a stand-in that speaks as much of them as a download needs."""

from __future__ import annotations

import builtins
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.fetch import servers
from tests.fetch.servers import Server
from trtpipe.errors import StepFailed
from trtpipe.fetch import Fetched, Patience, download
from trtpipe.loader.remotes import remote_file

DATA = random.Random(9).randbytes(5_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(stall=5.0, tries=3, pause=0.0)
PATHS = {"s3": "/bucket/models/net.onnx", "gs": "/bucket/models/net.onnx"}


@pytest.fixture(params=["s3", "gs"])
def kind(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("obstore", reason="not run: needs the extra 'remote'")
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url(""))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stand-in")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
    else:
        monkeypatch.setenv("GOOGLE_BASE_URL", server.url(""))
        monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    server.put(PATHS[request.param], DATA)
    return str(request.param)


def fetched(
    kind: str, folder: Path, pin: str = "", patience: Patience = QUICK, key: str = "models/net.onnx"
) -> Fetched:
    return download(remote_file(f"{kind}://bucket/{key}", pin), folder, lambda event: None, patience)


def refusal(*args: Any, **more: Any) -> str:
    with pytest.raises(StepFailed) as caught:
        fetched(*args, **more)
    assert "geheim" not in str(caught.value)
    return str(caught.value)


def test_an_object_arrives_whole(server: Server, kind: str, tmp_path: Path) -> None:
    found = fetched(kind, tmp_path, SHA256)

    assert found.path.read_bytes() == DATA
    assert {one.path for one in server.seen} == {PATHS[kind]}
    assert all("geheim" not in str(one.headers) for one in server.seen)


def test_s3_requests_are_signed(server: Server, kind: str, tmp_path: Path) -> None:
    fetched(kind, tmp_path)

    signed = [one.headers.get("authorization", "") for one in server.seen]
    assert all(text.startswith("AWS4-HMAC-SHA256 Credential=stand-in/") for text in signed) == (kind == "s3")


def test_a_connection_that_is_cut_is_gone_on_with(server: Server, kind: str, tmp_path: Path) -> None:
    chance = random.Random(1)
    server.acts[PATHS[kind]] = [servers.cut(chance.randrange(2_000_000, 3_000_000)) for _ in range(2)]

    assert fetched(kind, tmp_path).sha256 == SHA256
    asked = [one.headers.get("range", "") for one in server.seen]
    assert asked[0] == ""
    assert all(text.startswith("bytes=") for text in asked[1:])


def test_it_goes_on_where_another_process_was_stopped(server: Server, kind: str, tmp_path: Path) -> None:
    server.always[PATHS[kind]] = servers.cut(3_000_000)
    refusal(kind, tmp_path, patience=Patience(pause=0.0, tries=0))
    del server.always[PATHS[kind]]
    there = (tmp_path / "file").stat().st_size
    server.seen.clear()

    assert fetched(kind, tmp_path).sha256 == SHA256
    assert there > 0
    assert [one.headers["range"].rstrip("-") for one in server.seen] == [f"bytes={there}"]


def test_a_file_that_changed_in_between_is_fetched_anew(server: Server, kind: str, tmp_path: Path) -> None:
    changed = random.Random(10).randbytes(4_000_000)
    server.always[PATHS[kind]] = servers.cut(3_000_000)
    refusal(kind, tmp_path, patience=Patience(pause=0.0, tries=0))
    del server.always[PATHS[kind]]
    server.put(PATHS[kind], changed)

    assert fetched(kind, tmp_path).path.read_bytes() == changed


def test_another_object_than_the_pinned_one_is_refused(kind: str, tmp_path: Path) -> None:
    assert "it is not the pinned file: its sha256 is" in refusal(kind, tmp_path, "0" * 64)
    assert not list(tmp_path.iterdir())


def test_trouble_that_passes_is_waited_for(server: Server, kind: str, tmp_path: Path) -> None:
    server.acts[PATHS[kind]] = [servers.status(503), servers.status(500)]

    assert fetched(kind, tmp_path).sha256 == SHA256


@pytest.mark.parametrize(
    ("code", "words"),
    [(404, "there is no such object"), (403, "access was denied"), (400, "the store answered 400")],
)
def test_a_refusal_is_taken_for_an_answer(
    server: Server, kind: str, tmp_path: Path, code: int, words: str
) -> None:
    server.always[PATHS[kind]] = servers.status(code)

    said = refusal(kind, tmp_path)

    assert said.startswith(f"cannot fetch {kind}://bucket/models/net.onnx: {words}\n  ")
    assert len(server.seen) == 1


def test_a_server_that_falls_silent_is_asked_again(server: Server, kind: str, tmp_path: Path) -> None:
    server.acts[PATHS[kind]] = [servers.trickle(1, 4.0, 2_500_000)]

    assert fetched(kind, tmp_path, patience=Patience(stall=0.5, tries=3, pause=0.0)).sha256 == SHA256


def test_a_key_is_taken_as_it_is_written(server: Server, kind: str, tmp_path: Path) -> None:
    server.put("/bucket/my models/net+1.onnx", b"here")

    assert fetched(kind, tmp_path, key="my models/net+1.onnx").path.read_bytes() == b"here"


def test_a_google_key_file_is_taken(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="not run: needs the extra 'remote'")
    account = {
        "gcs_base_url": server.url(""),
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
    monkeypatch.setenv("GOOGLE_BASE_URL", server.url(""))
    server.put(PATHS["gs"], DATA)

    assert fetched("gs", tmp_path / "there").sha256 == SHA256


def test_without_the_extra_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "obstore":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    assert refusal("s3", tmp_path) == (
        "cannot fetch s3://bucket/models/net.onnx: it needs the package obstore\n"
        "  install it: pip install 'trtpipe[remote]'"
    )
