"""None of the machine's proxies, credentials and stores; the places that a remote store can be at."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.places import needs, web_server

_FOREIGN = ("AWS_", "GOOGLE_", "AZURE_", "TRTPIPE_")


@pytest.fixture(autouse=True)
def only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if (name.startswith(_FOREIGN) and name != "TRTPIPE_ALLOW_PROJECT_CODE") or name.lower().endswith(
            "_proxy"
        ):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A server that speaks S3, on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of its own for each test."""
    import urllib.request

    name = f"b{uuid.uuid4().hex[:12]}"
    for variable, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(variable, value)
    with urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{name}", method="PUT")):
        return f"s3://{name}"


@pytest.fixture(
    params=[
        "directory",
        pytest.param("web", marks=needs("obstore")),
        pytest.param("fsspec", marks=needs("fsspec")),
        pytest.param("s3", marks=[needs("moto"), needs("obstore")]),
    ]
)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a remote store is, of each kind."""
    if request.param == "directory":
        (tmp_path / "remote").mkdir()
        yield str(tmp_path / "remote")
    elif request.param == "fsspec":
        yield f"memory://{uuid.uuid4().hex}"
    elif request.param == "s3":
        yield request.getfixturevalue("s3_bucket") + "/some/prefix"
    else:
        with web_server() as server:
            yield server.url("/prefix")
