"""Checks that a project's state belongs to this machine: a clone may contain links that lead elsewhere, or a store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from trtpipe.errors import Problem, SpecError
from trtpipe.git.command import ask_git
from trtpipe.permissions import ProjectCode, code_of, is_granted
from trtpipe.problem_codes import Code

_STATE = ".trtpipe"
_SECONDS = 10.0
_WRITTEN = ("build/*/*", f"{_STATE}/*", f"{_STATE}/failed/*/*", "upgrade/*/*/*/*")
"""Directories that are written to; `*` is any name."""


def refuse_foreign_places(root: Path) -> None:
    """Raises SpecError when trtpipe would write outside the project, or the project came with a state directory."""
    refuse_links_outside(root)
    refuse_committed_state(root)


def refuse_links_outside(root: Path) -> None:
    """Raises SpecError for links that lead trtpipe's writes out of the project and that are not allowed."""
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


def refuse_committed_state(root: Path) -> None:
    """Raises SpecError when git tracks a file in `.trtpipe`: the state of whoever committed it would be trusted."""
    if not (root / _STATE).is_dir() or not any((one / ".git").exists() for one in (root, *root.parents)):
        return
    try:
        told = ask_git(root, "ls-files", "-z", "--", _STATE, seconds=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return
    tracked = told.stdout.split(b"\0")[0].decode(errors="replace") if told.returncode == 0 else ""
    if tracked:
        raise SpecError(
            Code.NOT_TRUSTED,
            f"'{tracked}' is committed to git: what others built cannot be told from what was built here",
            f"git rm -r --cached {_STATE}, and remove the directory",
        )


def links_outside(root: Path) -> Iterator[tuple[Path, ProjectCode]]:
    """The links as items to allow; permission to read a directory (`reach`) does not include writing."""
    home = root.resolve()
    links = {link for way in _WRITTEN for link in _links(root, way.split("/"))}
    for link in sorted(links):
        target = link.resolve()
        if not target.is_relative_to(home):
            yield link, code_of("link", str(target))


def _links(folder: Path, way: Sequence[str]) -> Iterator[Path]:
    """The first link on each path below a folder along these names."""
    if not way:
        return
    if list(way) == ["*"]:  # the directories below are many, and nothing of them is asked
        yield from _entries(folder, links_only=True)
        return
    for one in _entries(folder) if way[0] == "*" else [folder / way[0]]:
        if one.is_symlink():
            yield one
        elif one.is_dir():
            yield from _links(one, way[1:])


def _entries(folder: Path, *, links_only: bool = False) -> list[Path]:
    """The links in a directory, and the directories unless only links are asked for."""
    try:
        with os.scandir(folder) as entries:
            return [
                Path(one.path)
                for one in entries
                if one.is_symlink() or (not links_only and one.is_dir(follow_symlinks=False))
            ]
    except OSError:
        return []
