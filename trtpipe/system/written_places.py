"""Whether what a project's commands write lies inside the project: a clone may hold links that lead elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from trtpipe.errors import Problem, SpecError
from trtpipe.permissions import ProjectCode, code_of, is_granted
from trtpipe.problem_codes import Code

_LEVELS = {"build": 2, ".trtpipe": 1}
"""Directories that are written to, and how deep they hold directories that are."""


def refuse_links_outside(root: Path) -> None:
    """Raises SpecError for links in `build` and `.trtpipe` that lead out of the project and are not allowed."""
    problems = [
        Problem(
            Code.OUTSIDE_PROJECT,
            f"'{link.relative_to(root).as_posix()}' is a link to {code.name}, outside the project",
            "remove it; if it is yours, `trtpipe allow` lets trtpipe write there",
        )
        for link, code in links_outside(root)
        if not is_granted(code)
    ]
    if problems:
        raise SpecError(problems)


def links_outside(root: Path) -> Iterator[tuple[Path, ProjectCode]]:
    """The links, each with the directory that it leads to as something to allow."""
    home = root.resolve()
    for name, levels in _LEVELS.items():
        for link in _links(root / name, levels):
            target = link.resolve()
            if not target.is_relative_to(home):
                yield link, code_of("directory", str(target))


def _links(folder: Path, levels: int) -> Iterator[Path]:
    if folder.is_symlink():
        yield folder
        return
    if not levels:
        return
    try:
        with os.scandir(folder) as entries:
            found = [
                Path(one.path) for one in entries if one.is_symlink() or one.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return
    for one in sorted(found):
        yield from _links(one, levels - 1)
