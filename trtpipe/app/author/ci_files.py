"""`ci init`: the files of a CI workflow, compared with those that are there, and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trtpipe.app.author.ci_github import github_files
from trtpipe.app.author.ci_gitlab import gitlab_files
from trtpipe.app.author.ci_needs import CiNeeds
from trtpipe.errors import SpecError
from trtpipe.files import write_whole
from trtpipe.problem_codes import Code

SYSTEMS = {"github": github_files, "gitlab": gitlab_files}
"""The CI systems, and what makes their files."""


def write_files(root: Path, files: Mapping[str, str], *, force: bool) -> list[str]:
    """Write those files that are new or different, all or none; returns their names. Raises SpecError.

    Without `force`, a file that is there with another content is an error.
    """
    changed = {name: text for name, text in files.items() if _content(root / name) != text.encode()}
    there = [name for name in changed if (root / name).exists()]
    if there and not force:
        raise SpecError(
            Code.EXISTS_ALREADY,
            f"{' and '.join(there)} {'is' if len(there) == 1 else 'are'} there already, with another content",
            "look at what would be written with --stdout, or replace it with --force",
        )
    for name in changed:
        _refuse_outside(root, name)
    for name, text in changed.items():
        _write(root / name, text)
    return list(changed)


def _refuse_outside(root: Path, name: str) -> None:
    """Raise SpecError where a link of the repository leads out of it."""
    if not (root / name).resolve().is_relative_to(root.resolve()):
        raise SpecError(
            Code.CANNOT_WRITE,
            f"{name} is, or is below, a link that leads out of the repository",
            "remove the link",
        )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        ) from error


def files_for(needs: CiNeeds) -> dict[str, str]:
    """The files for the CI system that was chosen."""
    return SYSTEMS[needs.choices.system](needs)
