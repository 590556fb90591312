"""hf:// by the addresses that a hub resolves: a stand-in that redirects to its storage, as the real one does."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fetch import servers
from tests.fetch.servers import Server, running
from trtpipe.errors import StepFailed
from trtpipe.fetch import Fetched, Patience, download
from trtpipe.loader.remotes import remote_file

DATA = random.Random(11).randbytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
QUICK = Patience(stall=5.0, tries=3, pause=0.0)


@pytest.fixture
def storage() -> Iterator[Server]:
    with running() as state:
        yield state


@pytest.fixture
def hub(server: Server, storage: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("HF_ENDPOINT", server.url("/"))
    monkeypatch.setenv("HF_TOKEN", "hf_geheim")
    storage.put("/blob", DATA)
    for revision in ("main", COMMIT, "refs/pr/1"):
        path = f"/org/repo/resolve/{revision}/onnx/model.onnx"
        server.always[path] = servers.redirect(storage.url("/blob?sig=geheim"), X_Repo_Commit=COMMIT)
    return server


def fetched(text: str, folder: Path, pin: str = "") -> Fetched:
    return download(remote_file(text, pin), folder, lambda event: None, QUICK)


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}", "@refs%2Fpr%2F1"])
def test_a_file_is_fetched_and_its_commit_is_known(hub: Server, tmp_path: Path, revision: str) -> None:
    found = fetched(f"hf://org/repo{revision}/onnx/model.onnx", tmp_path, SHA256)

    assert found.path.read_bytes() == DATA
    assert found.facts == {"commit": COMMIT}
    written = revision.removeprefix("@") or "main"
    assert [one.written for one in hub.seen] == [f"/org/repo/resolve/{written}/onnx/model.onnx"]


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub: Server, storage: Server, tmp_path: Path) -> None:
    fetched("hf://org/repo@main/onnx/model.onnx", tmp_path)

    assert [one.headers.get("Authorization") for one in hub.seen] == ["Bearer hf_geheim"]
    assert [one.headers.get("Authorization") for one in storage.seen] == [None]


def test_a_transfer_that_was_cut_asks_the_hub_again(hub: Server, storage: Server, tmp_path: Path) -> None:
    storage.acts["/blob"] = [servers.cut(100_000)]

    assert fetched("hf://org/repo@main/onnx/model.onnx", tmp_path).sha256 == SHA256
    assert len(hub.seen) == 2
    assert storage.seen[1].headers["Range"] == "bytes=100000-"


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_says_what_a_gated_repository_needs(hub: Server, tmp_path: Path, code: int) -> None:
    hub.always["/org/repo/resolve/main/onnx/model.onnx"] = servers.status(code)

    with pytest.raises(StepFailed) as caught:
        fetched("hf://org/repo/onnx/model.onnx", tmp_path)

    assert "set $HF_TOKEN to a token that may read it" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint", ["http://example.com", "ftp://127.0.0.1", "https://u:geheim@example.com", "nonsense"]
)
def test_a_hub_that_the_token_may_not_be_shown_is_refused(
    hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)

    with pytest.raises(StepFailed) as caught:
        fetched("hf://org/repo/onnx/model.onnx", tmp_path)

    assert "$HF_ENDPOINT is" in str(caught.value)
    assert "geheim" not in str(caught.value)
