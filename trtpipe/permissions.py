"""Which code of a project may run: a cloned project runs no program until the user has allowed it.

Code is identified by its digest. Allowed is what the user's own configuration lists for the project (`loader.user`
reads it and grants it here), or everything if `TRTPIPE_ALLOW_PROJECT_CODE=1` is set, as in CI. Every function that
loads a project's code checks here first, in any process; a child process inherits its parent's grants.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.problem_codes import Code

ALLOW_ALL = "TRTPIPE_ALLOW_PROJECT_CODE"
_GRANTED = "TRTPIPE_GRANTED_CODE"
"""What a child may run: digests, separated by commas."""

Kind = Literal["interpreter", "library", "code", "directory", "link", "store"]
WORDS: dict[Kind, str] = {
    "interpreter": "the program",
    "library": "the library",
    "code": "the Python file",
    "directory": "files in the directory",
    "link": "a link that is written through, to",
    "store": "the store",
}
_DOES: dict[Kind, str] = {"directory": "reads", "link": "has", "store": "uses"}


@dataclass(frozen=True, slots=True)
class ProjectCode:
    """Code that a project would run, or a path outside the project that it would read."""

    kind: Kind
    name: str
    """The file, command or directory, as the project names it."""
    digest: str
    """SHA-256, in hex, of its kind and content; of a program or directory of its name."""

    def words(self) -> str:
        """For a message: `the Python file 'calibration/waves.py'`."""
        return f"{WORDS[self.kind]} {self.name!r}"


def code_of(kind: Kind, name: str, contents: Iterable[bytes] = ()) -> ProjectCode:
    """The code that a project would run, identified by its contents, or by its name if it has none here."""
    found = hashlib.sha256(kind.encode())
    pieces = list(contents) or [name.encode()]
    for piece in pieces:
        found.update(len(piece).to_bytes(8, "big") + piece)
    return ProjectCode(kind, name, found.hexdigest())


_granted: set[str] = set(filter(None, os.environ.get(_GRANTED, "").split(",")))


def grant(digests: Iterable[str]) -> None:
    """Allows this process, and children that it starts from now on, to run the code with these digests."""
    _granted.update(digests)


def granted_digests() -> frozenset[str]:
    """The digests that this process may run."""
    return frozenset(_granted)


def forget_grants() -> None:
    """Revokes all grants, as at the start of a process."""
    _granted.clear()


def is_granted(code: ProjectCode) -> bool:
    """Whether the code may run."""
    return os.environ.get(ALLOW_ALL) == "1" or code.digest in _granted


def grants_for_children() -> dict[str, str]:
    """The environment variables that pass the grants to a child."""
    told = {ALLOW_ALL: "1"} if os.environ.get(ALLOW_ALL) == "1" else {}
    return told | ({_GRANTED: ",".join(sorted(_granted))} if _granted else {})


def not_allowed(code: ProjectCode, path: SpecPath = ()) -> Problem:
    """The problem to report when the code would run without permission."""
    does = _DOES.get(code.kind, "runs")
    return Problem(
        Code.CODE_NOT_ALLOWED,
        f"this project {does} {code.words()}, and you have not allowed it",
        f"`trtpipe allow` shows it and asks you; in CI set {ALLOW_ALL}=1",
        path=path,
    )


def require(code: ProjectCode, path: SpecPath = ()) -> None:
    """Raises SpecError unless it may run."""
    if not is_granted(code):
        raise SpecError(not_allowed(code, path))
