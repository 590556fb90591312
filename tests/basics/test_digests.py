"""Digests of files: the same whether a file is read whole or in windows, in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trtpipe import digests
from trtpipe.digests import digest_bytes, digest_file

WINDOW = 1 << 16


@pytest.mark.parametrize("size", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW, 3 * WINDOW + 5])
def test_a_file_read_in_windows_has_the_digest_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(digests, "_WINDOW", WINDOW)
    data = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(data)

    assert digest_file(path) == digest_bytes(data)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_WINDOW", WINDOW)
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * WINDOW))
    real = digests._add_window

    def add(hasher: object, file: object, start: int, length: int) -> None:
        os.truncate(path, WINDOW)
        real(hasher, file, start, length)  # type: ignore[arg-type]

    monkeypatch.setattr(digests, "_add_window", add)

    with pytest.raises(OSError, match="became shorter"):
        digest_file(path)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads Linux's account of a process's memory"
)
def test_digesting_takes_little_memory_however_large_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 29)
    code = (
        "import sys; from pathlib import Path; from trtpipe.digests import digest_file; digest_file(Path(sys.argv[1]));"
        "print(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )

    told = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)

    assert int(told.stdout) < 150 << 10
