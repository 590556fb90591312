"""The secret key for signing traces: read from the place that the project names, if nobody else can read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from trtpipe.errors import Problem, SpecError
from trtpipe.loader.project import Project
from trtpipe.problem_codes import Code
from trtpipe.workspace.store_places import expanded

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def secret_key(project: Project, where: str, *, needed: bool) -> str:
    """The text of a signing key; empty when there is none, or when it is unreadable and not `needed`.

    Raises SpecError when it is not a key, is in a place that gets committed, or is readable by others.
    """
    if where.startswith("$"):
        text = os.environ.get(where[1:].strip("{}"), "")
    else:
        path = Path(os.path.normpath(project.root / expanded(where)))
        text = _text_of(path, project.root, needed)
    if text.strip():
        from trtpipe.stores.signatures import public_key

        public_key(text)
    return text.strip()


def _text_of(path: Path, root: Path, needed: bool) -> str:
    try:
        mode = path.stat().st_mode
        _refuse_inside(path, root)
        if os.name != "nt" and mode & _OTHERS:
            raise SpecError(
                Code.SIGNING_KEY,
                f"others can read or write the signing key {path} (mode {stat.S_IMODE(mode):o})",
                f"chmod 600 {path}",
            )
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        if not needed and isinstance(error, PermissionError):
            return ""
        raise SpecError(Problem(Code.SIGNING_KEY, f"cannot read the signing key {path}: {error}")) from error


def _refuse_inside(path: Path, root: Path) -> None:
    """Raises SpecError for a key in the project, or in the repository around it."""
    home = root.resolve()
    repository = next((one for one in (home, *home.parents) if (one / ".git").exists()), home)
    real = path.resolve()
    if real.is_relative_to(repository) or real.is_relative_to(home):
        raise SpecError(
            Code.SIGNING_KEY,
            f"the signing key {path} is inside the repository, where it would be committed and copied",
            "move it to a directory outside, write that into `sign`, and make a new one if it was ever committed: "
            "trtpipe cache keygen FILE",
        )
