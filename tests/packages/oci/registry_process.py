"""A real registry on loopback, Debian's `docker-registry`: it has no referrers API, so that tags stand in for it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM, SKOPEO = "docker-registry", "skopeo"


@dataclass(frozen=True)
class RunningRegistry:
    """A registry that answers."""

    host: str
    storage: Path

    @property
    def blobs(self) -> set[str]:
        """The SHA-256 of everything that it holds."""
        found = (self.storage / "docker/registry/v2/blobs/sha256").glob("*/*/data")
        return {path.parent.name for path in found}


@contextlib.contextmanager
def running_registry(folder: Path, users: str = "") -> Iterator[RunningRegistry]:
    """`users`: lines of an htpasswd file; without any, everybody may push."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"not run: needs {PROGRAM}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    storage, config = folder / "storage", folder / "config.yml"
    text = f"""\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {storage}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
    if users:
        (folder / "htpasswd").write_text(users)
        text += f"auth: {{htpasswd: {{realm: here, path: {folder / 'htpasswd'}}}}}\n"
    config.write_text(text)
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        yield RunningRegistry(f"127.0.0.1:{port}", storage)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the registry ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the registry does not answer")


def skopeo(*arguments: str) -> str:
    """What skopeo prints."""
    if shutil.which(SKOPEO) is None:
        pytest.skip(f"not run: needs {SKOPEO}")
    done = subprocess.run([SKOPEO, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
