"""Places for a remote store: a directory, fsspec's memory, a web server that takes PUT, and an S3 server."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fetch import servers
from trtpipe.digests import Digest, key_of
from trtpipe.plan.address import STAGE_VERSIONS
from trtpipe.plan.trace import Trace
from trtpipe.stores.layered import LayeredStore
from trtpipe.stores.remote import Remote, Terms
from trtpipe.workspace.stores import Access, open_bucket


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not _is_there(package), reason=f"not run: needs {package}")


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


class PuttingHandler(servers.Handler):
    """Takes objects too."""

    def do_PUT(self) -> None:  # noqa: N802 - the name that the base class calls
        length = int(self.headers.get("Content-Length", "0"))
        data = self.rfile.read(length)
        path = self.path
        with self.state.lock:
            self.state.seen.append(servers.Seen("PUT", path, dict(self.headers.items()), path))
            waiting = self.state.acts.get("PUT", [])
            act = waiting.pop(0) if waiting else self.state.always.get("PUT")
        if act is not None:
            act(self, data)
            return
        self.state.files[path] = data
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def web_server() -> Iterator[servers.Server]:
    """A web server on loopback with plain GET, HEAD and PUT."""
    with servers.running(PuttingHandler) as state:
        yield state


def store_on(root: Path, address: str, stall: float = 5.0, **terms: object) -> LayeredStore:
    """A store with its own directory and this remote."""
    store = LayeredStore(root)
    store.add_remote(
        Remote(
            lambda: open_bucket(address, root, stall, Access(os.environ.get("TRTPIPE_REMOTE_TOKEN", ""))),
            address,
            Terms(**terms),
            store.warnings.append,
        )
    )
    return store


def step(store: LayeredStore, name: str, *parts: bytes, stage: str = "import", **more: object) -> Trace:
    """Put what a step yielded into the store and record its trace, which sends both away."""
    outputs = {}
    for index, data in enumerate(parts):
        with store.scratch() as scratch:
            (scratch / "x").write_bytes(data)
            outputs[f"out{index}"] = store.put(scratch / "x")
    trace = Trace(*fingerprint(name, stage), outputs, {"nodes": 3, **more}, 0.25)
    store.record(trace)
    return trace


def fingerprint(name: str, stage: str = "import") -> tuple[str, str, dict]:
    record = {"schema": 1, "stage": stage, "version": STAGE_VERSIONS[stage], "options": {"name": name}}
    return key_of(record), f"{name}:{stage}", record


def bytes_of(store: LayeredStore, digest: Digest, folder: Path) -> bytes:
    target = folder / digest.hex
    store.fetch(digest, target)
    return target.read_bytes()
