"""Which engine of a package a machine can run, by the index alone: nothing is loaded, and TensorRT is not imported.

    verdict = trtpipe.select("digits.tar")
    if verdict.runs_engines:
        load(verdict.choices[0].file)

Light enough for the start of a service: most of its time goes into imports of the standard library.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.selection.verdict import Verdict, choose

if TYPE_CHECKING:
    from trtpipe.packages.index import Index
    from trtpipe.selection.machine import Machine

LAYOUT = "oci-layout"
"""The file that marks an OCI image layout."""

__all__ = ["Verdict", "index_of", "select"]


def select(
    package: str | os.PathLike[str], machine: Machine | None = None, variant: str | None = None
) -> Verdict:
    """What this machine, or the one that is described, should run of a package.

    A package is a directory, an archive or an OCI image layout. Raises PackageError for something that is no package,
    or one of another version.
    """
    from trtpipe.selection.machine import this_machine

    return choose(index_of(Path(package)), machine or this_machine(), variant)


def index_of(package: Path) -> Index:
    """The index of a directory, an archive or an OCI image layout; no other file is read. Raises PackageError."""
    if package.is_dir() and (package / LAYOUT).exists():
        from trtpipe.packages.oci.reader import index_of_layout

        return index_of_layout(package)
    if package.is_dir():
        from trtpipe.packages.index_file import read_index

        return read_index(package)
    from trtpipe.packages.archive_reader import archived_index

    return archived_index(package)
