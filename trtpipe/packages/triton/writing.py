"""Writes a Triton model repository as a package's directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trtpipe.packages.contents import Contents
from trtpipe.packages.directory import Signer, Written, write_directory
from trtpipe.packages.triton.repository import repository_of
from trtpipe.spec.packaging import TritonBackend


def write_repository(
    contents: Contents,
    out: Path,
    *,
    backend: TritonBackend | None = None,
    sign: Signer | None = None,
    force: bool = False,
) -> Written:
    """Writes the repository, and says how a server is started with it. Raises TrtpipeError."""
    repository = repository_of(contents, backend)
    found = write_directory(repository.contents, out, sign=sign, force=force)
    return replace(found, form="triton", notes=repository.notes, start=repository.start)
