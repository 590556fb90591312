"""Removes what killed builds left in a project: temporary files beside their final names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from trtpipe.files import sweep_files
from trtpipe.workspace.workspace import STATE_DIRECTORY

_DEPTH = 2
"""Cells are in `build/PIPELINE/VARIANT@TARGET`."""


def sweep_project(root: Path, build: Path, leave_out: Collection[str] = ()) -> None:
    """Remove such files from the project's root, its state and its build directory. Files of running builds stay.

    `leave_out` are pipelines that no build was working at.
    """
    with contextlib.suppress(OSError):  # another process may remove a folder meanwhile
        for folder in (root, root / STATE_DIRECTORY, *_folders(build, _DEPTH, leave_out)):
            sweep_files(folder)


def _folders(top: Path, depth: int, leave_out: Collection[str] = ()) -> Iterator[Path]:
    yield top
    if depth and top.is_dir():
        with os.scandir(top) as entries:
            found = [entry for entry in entries if entry.name not in leave_out]
            inner = [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
        for path in inner:
            yield from _folders(Path(path), depth - 1)
