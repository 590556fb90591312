"""Extracts a file from a git revision, such as `HEAD~1:trtpipe.lock`, into a folder.

Only `git cat-file` is run, with arguments that cannot be mistaken for options: no filter, no textconv, no hook, no
download. A path is relative to the working directory, or else to the repository's root, as in git.
"""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

from trtpipe.errors import ModelError, SpecError
from trtpipe.git.command import ask_git
from trtpipe.problem_codes import Code

_LARGEST = 16 << 30
_SECONDS = 60


def file_of_revision(text: str, cwd: Path, folder: Path) -> Path:
    """The file that `REVISION:PATH` names, extracted to `folder` under its own name, with a model's external data.

    Raises SpecError when there is no such file or revision, or no git.
    """
    revision, _, name = text.partition(":")
    if not revision or not name or text.startswith("-") or not text.isprintable():
        raise SpecError(
            Code.NO_SUCH_FILE,
            f"neither a file nor a file in a git revision: {text!r}",
            "write REVISION:PATH",
        )
    spellings = (name, name) if name.startswith(("./", "../", "/")) else (f"./{name}", name)
    for spelling in spellings:
        size = _size_of(f"{revision}:{spelling}", cwd)
        if size is not None:
            out = folder / PurePosixPath(name).name
            _take(f"{revision}:{spelling}", cwd, out, size)
            _take_data(revision, spelling, cwd, out)
            return out
    raise SpecError(
        Code.GIT_FAILED,
        f"git has no file {name!r} in revision {revision!r}",
        "see git ls-tree -r --name-only " + revision,
    )


def _take_data(revision: str, spelling: str, cwd: Path, model: Path) -> None:
    """The external data of an ONNX model from the same revision; missing data are reported when they are read."""
    from trtpipe.canonical.reader import external_locations
    from trtpipe.inspection.file_kind import kind_of_file

    if kind_of_file(model) != "model":
        return
    try:
        locations = external_locations(model)
    except ModelError:
        return
    beside = PurePosixPath(spelling).parent
    for location in locations:
        inner = PurePosixPath(location)
        if inner.is_absolute() or ".." in inner.parts or not location.isprintable() or "\\" in location:
            continue
        prefix = "./" if spelling.startswith("./") else ""
        there = f"{revision}:{prefix}{(beside / inner).as_posix()}"
        size = _size_of(there, cwd)
        if size is not None:
            out = model.parent / location
            out.parent.mkdir(parents=True, exist_ok=True)
            _take(there, cwd, out, size)


def _size_of(name: str, cwd: Path) -> int | None:
    """The size in bytes of a file in a revision; None when git has no such file."""
    ran, kind = (_asked(option, name, cwd) for option in ("-s", "-t"))
    if b"not a git repository" in ran.stderr:
        raise SpecError(Code.NO_SUCH_FILE, f"no such file: {name!r}, and this is not a git repository")
    if b"dubious ownership" in ran.stderr:
        raise SpecError(
            Code.GIT_FAILED,
            "git refuses a repository that belongs to someone else",
            "see git help config, safe.directory",
        )
    right = ran.returncode == 0 and kind.stdout.strip() == b"blob" and ran.stdout.strip().isdigit()
    return int(ran.stdout) if right else None


def _asked(option: str, name: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    try:
        return ask_git(cwd, "cat-file", option, name, seconds=_SECONDS)
    except FileNotFoundError:
        raise SpecError(
            Code.GIT_FAILED, f"{name!r} is not a file, and git, which might know it, is not installed"
        ) from None
    except subprocess.TimeoutExpired:
        raise SpecError(Code.GIT_FAILED, f"git did not answer within {_SECONDS} seconds") from None


def _take(name: str, cwd: Path, out: Path, size: int) -> None:
    if size > _LARGEST:
        raise SpecError(Code.GIT_FAILED, f"{name!r} has {size} bytes, too many to extract from git")
    try:
        with out.open("xb") as file:
            ran = ask_git(cwd, "cat-file", "blob", name, seconds=None, out=file)
    except OSError as error:
        raise SpecError(
            Code.GIT_FAILED, f"cannot take {name!r} out of git: {(error.strerror or str(error)).lower()}"
        ) from error
    if ran.returncode or out.stat().st_size != size:
        said = ran.stderr.decode(errors="replace").strip().splitlines()
        raise SpecError(
            Code.GIT_FAILED, f"git could not give {name!r}: {said[-1] if said else 'it was cut short'}"
        )
