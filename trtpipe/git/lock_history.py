"""Finds the commits that brought a digest into the lockfile. Limited in time and commits; needs git.

Only `git log` and `git show` are run, with everything disabled that a repository's configuration could start.
"""

from __future__ import annotations

import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from trtpipe.errors import TrtpipeError
from trtpipe.git.command import ask_git, git_command
from trtpipe.lockfile import lock_in

MOST_COMMITS = 50
_SECONDS = 20
_FIELDS = "%H%x1f%cs%x1f%s"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that changed which cells of the lockfile have an engine."""

    hash: str
    date: str
    subject: str
    cells: tuple[str, ...]
    """Those that have it afterwards."""
    before: tuple[str, ...]
    """Those that had it before."""

    def to_json(self) -> dict[str, object]:
        """This commit as plain JSON values."""
        return {**asdict(self), "cells": list(self.cells), "before": list(self.before)}


@dataclass(frozen=True, slots=True)
class History:
    """Git's answer: commits, newest first, and why there may be more."""

    commits: tuple[Commit, ...]
    note: str = ""


def commits_with(lockfile: Path, digest: str) -> History:
    """The commits that added an engine's digest (in hex, or its first digits) to the lockfile or removed it."""
    if git_command() is None:
        return History((), "git is not installed, so older lockfiles are unknown")
    asked = (
        "log",
        f"-S{digest}",
        f"-n{MOST_COMMITS}",
        "--no-ext-diff",
        "--no-textconv",
        f"--format={_FIELDS}",
    )
    said = _git(lockfile.parent, *asked, "--", lockfile.name)
    if said is None:
        return History((), "the project is in no git repository, so older lockfiles are unknown")
    found = [_commit(line.split("\x1f"), lockfile, digest) for line in said.splitlines() if line]
    # otherwise the digest belongs to another fact
    commits = [one for one in found if one.cells or one.before]
    shallow = (_git(lockfile.parent, "rev-parse", "--is-shallow-repository") or "").strip() == "true"
    note = "the clone is shallow: older commits were not searched" if shallow else ""
    return History(tuple(commits), note)


def _commit(fields: list[str], lockfile: Path, digest: str) -> Commit:
    hash_, date, subject = (*fields, "", "")[:3]
    after, before = (_cells_at(revision, lockfile, digest) for revision in (hash_, f"{hash_}^"))
    return Commit(hash_, date, subject, after, before)


def _cells_at(revision: str, lockfile: Path, digest: str) -> tuple[str, ...]:
    """The cells whose engine had that digest in a revision; none when its lockfile is missing or unreadable."""
    asked = ("show", "--no-ext-diff", "--no-textconv", f"{revision}:./{lockfile.name}")
    text = _git(lockfile.parent, *asked) or ""
    try:
        cells = lock_in(lockfile, text).cells if text else {}
    except TrtpipeError:
        return ()
    having = (name for name, entry in cells.items() if str(entry.get("engine", "")).startswith(digest))
    return tuple(sorted(having))


def _git(folder: Path, *arguments: str) -> str | None:
    """Git's output; None when it fails or takes too long."""
    try:
        done = ask_git(folder, *arguments, seconds=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
