"""The user's own configuration, `config.yaml`: where it is, how it is read, and how `trtpipe allow` adds to it.

    $XDG_CONFIG_HOME/trtpipe/config.yaml     ~/.config where the variable is not set
    %LOCALAPPDATA%\\trtpipe\\config.yaml       on Windows

trtpipe rewrites only its section `allowed`; everything above it stays as the user wrote it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from trtpipe import permissions
from trtpipe.errors import Problem, SpecError
from trtpipe.files import held, write_whole
from trtpipe.homes import user_file
from trtpipe.loader.whole_files import whole_file
from trtpipe.problem_codes import Code
from trtpipe.spec.user import UserSpec

_EMPTY = UserSpec(schema=1)
_ALLOWED = re.compile(r"^allowed:.*(?:\n(?:[ \t#-].*)?)*", re.MULTILINE)
_SCHEMA_LINE = "schema: 1\n"
_HEADER = "# What projects may run, by the digest of what would run. Written by `trtpipe allow`.\n"


def load_user() -> UserSpec:
    """The user's configuration; the defaults if there is no file. Raises SpecError when it is wrong."""
    path = user_file()
    if path is None or not path.is_file():
        return _EMPTY
    return whole_file(UserSpec, path)[0]


def grant_allowed(root: Path) -> None:
    """Grants what the user allowed the project at this root. Raises SpecError as `load_user` does."""
    permissions.grant(allowed_in(load_user(), root))


def allowed_in(user: UserSpec, root: Path) -> set[str]:
    """The digests of what the project at this root may run."""
    here = os.path.realpath(root)
    return {digest for one in user.allowed if one.project == here for digest in one.code}


def write_allowed(root: Path, digests: Iterable[str]) -> Path:
    """Makes these digests all that the project may run; the file. Raises SpecError."""
    path = user_file()
    if path is None:
        raise SpecError(
            Code.NO_HOME, "there is no home directory to keep it in", "set XDG_CONFIG_HOME to a directory"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(path.with_name(".config.lock")):
            user = load_user()
            projects = {one.project: set(one.code) for one in user.allowed}
            projects[os.path.realpath(root)] = set(digests)
            text = path.read_text(encoding="utf-8") if path.is_file() else _SCHEMA_LINE
            write_whole(path, _with_allowed(text, projects).encode())
    except OSError as error:
        fact = f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        raise SpecError(Problem(Code.CANNOT_WRITE, fact)) from error
    return path


def _with_allowed(text: str, projects: dict[str, set[str]]) -> str:
    import json

    lines = [_HEADER, "allowed:\n"]
    for project, digests in sorted(projects.items()):
        if digests:
            lines.append(f"  - project: {json.dumps(project)}\n    code:\n")
            lines += [f"      - {digest}\n" for digest in sorted(digests)]
    kept = _ALLOWED.sub("", text.replace(_HEADER, "")).rstrip("\n")
    return f"{kept}\n" + ("\n" + "".join(lines) if len(lines) > 2 else "")
