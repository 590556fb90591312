"""Runs git for reading only, and prevents it from running programs that a repository configures (hooks, filters, …).

A repository's configuration may have come with a copied clone, and its attributes always do. Git gets none of the
user's secrets.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import IO

from trtpipe.launcher.children import run_to_end
from trtpipe.launcher.environment import environment_of

_SETTINGS = (
    "core.fsmonitor=false", "core.hooksPath=/dev/null", "core.sshCommand=false", "core.pager=cat", "diff.external=",
    "log.showSignature=false", "gpg.program=false", "protocol.allow=never", "credential.helper=",
)  # fmt: skip
_ASKED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}


@cache
def git_command() -> str | None:
    """The path of git; None when it is not installed."""
    return shutil.which("git")


def ask_git(
    cwd: Path, *arguments: str, seconds: float | None, out: IO[bytes] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs git; its output goes to `out` if given. Raises FileNotFoundError, OSError, TimeoutExpired."""
    git = git_command()
    if git is None:
        raise FileNotFoundError("git")
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    command = [git, "--no-pager", "--no-optional-locks", "--no-replace-objects", *settings, *arguments]
    environment = {**environment_of("stage"), **_ASKED}
    return run_to_end(command, environment, cwd, seconds=seconds, out=out)


def is_filtered(cwd: Path, path: Path, seconds: float) -> bool:
    """Whether git attributes assign a filter to a file, which git would run to see whether the file changed."""
    try:
        told = ask_git(cwd, "check-attr", "-z", "filter", "--", str(path), seconds=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return True
    words = told.stdout.split(b"\0")
    return told.returncode != 0 or len(words) < 3 or words[2] not in (b"unspecified", b"unset")
