"""Certificates are verified, and nothing leads from https to where it could be changed on the way."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fetch import servers
from tests.fetch.servers import Handler, Server
from trtpipe.errors import StepFailed
from trtpipe.fetch import Fetched, Patience, download
from trtpipe.fetch import http as asking
from trtpipe.loader.remotes import remote_file

QUICK = Patience(stall=5.0, tries=3, pause=0.0)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust the server hangs up: no wonder."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("not run: needs openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.with_suffix(".crt"), certificate)
    handler = type("Secure", (Handler,), {"protocol_version": "HTTP/1.1"})
    httpd = _Quiet(("127.0.0.1", 0), handler)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
    handler.state = state = Server(httpd.server_address[1])
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    asking._verified.cache_clear()
    yield
    asking._verified.cache_clear()


def fetched(server: Server, folder: Path, path: str = "/net.onnx", host: str = "localhost") -> Fetched:
    remote = remote_file(f"https://{host}:{server.port}{path}")
    return download(remote, folder, lambda event: None, QUICK)


def refusal(server: Server, folder: Path, path: str = "/net.onnx", host: str = "localhost") -> str:
    with pytest.raises(StepFailed) as caught:
        fetched(server, folder, path, host)
    return str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Server, tmp_path: Path) -> None:
    asking._verified.cache_clear()
    secure.put("/net.onnx", b"here")

    said = refusal(secure, tmp_path)

    assert "its certificate is not valid: " in said
    assert "tried" not in said
    assert not secure.seen


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host_is_refused(secure: Server, tmp_path: Path) -> None:
    secure.put("/net.onnx", b"here")

    assert "its certificate is not valid: " in refusal(secure, tmp_path, host="127.0.0.1")


@pytest.mark.usefixtures("trusted")
def test_whom_the_machine_trusts_is_trusted(secure: Server, tmp_path: Path) -> None:
    secure.put("/net.onnx", b"here")

    assert fetched(secure, tmp_path).path.read_bytes() == b"here"


@pytest.mark.usefixtures("trusted")
def test_no_redirect_leads_from_https_to_http(secure: Server, server: Server, tmp_path: Path) -> None:
    secure.always["/net.onnx"] = servers.redirect(server.put("/net.onnx", b"here"))

    assert "which is plain http and can be altered in transit" in refusal(secure, tmp_path)
    assert not server.seen


@pytest.mark.usefixtures("trusted")
def test_a_certificate_behind_a_redirect_is_verified_too(secure: Server, tmp_path: Path) -> None:
    secure.always["/net.onnx"] = servers.redirect(f"https://127.0.0.1:{secure.port}/other.onnx")
    secure.put("/other.onnx", b"here")

    assert "its certificate is not valid: " in refusal(secure, tmp_path)
