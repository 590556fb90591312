"""Models that Triton does not serve as they are, and registries that let nobody in: what helps, helps."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from tests.packages.made_packages import contents, engine, model
from tests.projects import ROOT
from tests.remedies.remedy_places import Place, Question, Row, apply
from trtpipe.packages.contents import Contents
from trtpipe.packages.oci.documents import EMPTY_CONFIG
from trtpipe.packages.oci.reference import parse_reference
from trtpipe.packages.triton.batches import asked_batches
from trtpipe.packages.triton.repository import repository_of
from trtpipe.problem_codes import Code
from trtpipe.spec.packaging import PackageSpec, TritonBackend, TritonSpec

ADA = engine("net/fp16@ada")


def package(*backends: TritonBackend, flavour: str = "tensorrt", driver: str | None = None) -> Contents:
    """Models for these backends; with a driver, they are a bundle."""
    names = [f"net{number}" for number in range(len(backends))]
    models = [model(name, engine(f"{name}/fp16@ada", flavour=flavour), fallback=b"") for name in names]
    made = contents(*models)
    specs = {
        name: SimpleNamespace(
            package=PackageSpec(triton=TritonSpec(backend=backend, max_batch_size=8)),
            spec=SimpleNamespace(validate_=None),
        )
        for name, backend in zip(names, backends, strict=True)
    }
    made = replace(made, pipelines=specs)
    if driver is None:
        return made
    spec = SimpleNamespace(python=driver, outputs=(), package=PackageSpec())
    index = replace(made.index, bundle="ocr")
    return replace(made, index=index, bundle=SimpleNamespace(name="ocr", spec=spec))  # type: ignore[arg-type]


def batches(place: Place) -> int:
    """What a spec asks for, which the file `most` stands for."""
    most = int((place.root / "most").read_text())
    return asked_batches(most, "net", (ADA.inputs, ADA.outputs), ADA.profiles, {"scores": True})


def fewer(place: Place, match: re.Match[str]) -> None:
    place.write("most", match[1])


def served_by(*backends: TritonBackend, **changes: Any) -> Any:
    def cure(place: Place, match: re.Match[str]) -> Question:
        assert "--backend" in match[0]
        return lambda _: repository_of(package(*backends, **changes), "onnxruntime")

    return cure


def without_bundle(place: Place, match: re.Match[str]) -> Question:
    """The pipelines that the line names, packaged by themselves."""
    assert match[1].split() == ["net0", "net1"]
    return lambda _: repository_of(package("onnxruntime", "onnxruntime"))


@contextlib.contextmanager
def guarded() -> Iterator[str]:
    """A registry that wants a password."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            known = self.headers.get("Authorization") == f"Basic {TOKEN}"
            self.send_response(200 if known else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TOKEN = base64.b64encode(b"ada:lovelace").decode()


def looks(host: str) -> bool:
    """Asks a registry for a blob."""
    from trtpipe.packages.oci.registry import Registry

    registry = Registry(parse_reference(f"{host}/team/net:1", insecure=False))
    try:
        return registry.has_blob(EMPTY_CONFIG.descriptor)
    finally:
        registry.close()


def asks_a_registry(place: Place) -> bool:
    pytest.importorskip("oras", reason="not run: needs the extra oci")
    place.patch.setenv("HOME", str(place.root))
    with guarded() as host:
        known = (place.root / "logged-in").exists()
        token = {"auths": {host: {"auth": TOKEN}}} if known else {}
        place.write(".docker/config.json", json.dumps(token))
        return looks(host)


def logged_in(place: Place, match: re.Match[str]) -> None:
    """`docker login HOST` writes the user's name and password into the configuration."""
    assert re.fullmatch(r"127\.0\.0\.1:\d+", match[1])
    place.write("logged-in", "")


def without_oras(place: Place) -> None:
    pytest.importorskip("oras", reason="not run: needs the extra oci")
    place.patch.setenv("HOME", str(place.root))
    place.patch.setitem(sys.modules, "oras.auth", None)


def asks_for_oras(place: Place) -> bool:
    with guarded() as host:
        place.write(".docker/config.json", json.dumps({"auths": {host: {"auth": TOKEN}}}))
        return looks(host)


def extra_installed(place: Place, match: re.Match[str]) -> None:
    """What pip would bring: the extra that the line names has it."""
    text = (ROOT / "pyproject.toml").read_text()
    extra = text.partition(f"\n{match[1]} = [\n")[2].partition("\n]")[0]
    assert '"oras>=' in extra, f"the extra {match[1]} brings no oras"
    place.patch.delitem(sys.modules, "oras.auth")


ROWS = [
    Row(
        "a batch beyond the profiles",
        Code.NOT_SERVABLE,
        r"write max_batch_size: (\d+)",
        fewer,
        {"most": "16"},
        ask=batches,
    ),
    Row(
        "engines of TensorRT-RTX for Triton",
        Code.NOT_SERVABLE,
        "--backend onnxruntime",
        served_by("tensorrt", flavour="tensorrt_rtx"),
        ask=lambda _: repository_of(package("tensorrt", flavour="tensorrt_rtx")),
    ),
    Row(
        "models for two of Triton's backends",
        Code.NOT_SERVABLE,
        "say one for all of them with --backend",
        served_by("tensorrt", "onnxruntime"),
        ask=lambda _: repository_of(package("tensorrt", "onnxruntime")),
    ),
    Row(
        "a driver in an ensemble",
        Code.NOT_SERVABLE,
        "trtpipe package (.*) --to triton",
        without_bundle,
        ask=lambda _: repository_of(package("onnxruntime", "onnxruntime", driver="drivers:run")),
    ),
    Row(
        "a registry without a login",
        Code.REGISTRY_FAILED,
        "docker login (.*)",
        logged_in,
        ask=asks_a_registry,
    ),
    Row(
        "no oras",
        Code.MISSING_PACKAGE,
        r"pip install 'trtpipe\[(\w+)\]'",
        extra_installed,
        before=without_oras,
        ask=asks_for_oras,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_remedy_of_serving_works(row: Row, place: Place) -> None:
    apply(row, place)
