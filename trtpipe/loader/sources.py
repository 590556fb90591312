"""Resolves a file named in a spec to its path: inside the project, in an allowed directory, or in a Python package.

Works with paths and the locations of Python packages; opens no file and imports no package.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import itertools
import pkgutil
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trtpipe.errors import Problem, SpecError, SpecPath, masked
from trtpipe.loader.grammar import listed, nearest
from trtpipe.loader.scalars import shortened
from trtpipe.problem_codes import Code, ProblemCode
from trtpipe.spec.remote import is_remote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LISTED_ENTRIES = 2000


@dataclass(frozen=True, slots=True)
class _Wrong(Exception):
    """Why a source does not name a readable file."""

    code: ProblemCode
    fact: str
    remedy: str = ""


def resolve_source(
    text: str, root: Path, reach: Iterable[str] = (), path: SpecPath = (), *, directory: bool = False
) -> Path:
    """The existing file that `text` names: a path relative to `root`, or `pkg://PACKAGE/PATH`.

    With `directory`, a directory is accepted too. Remote addresses are handled in `remotes`, and rejected here.

    After symbolic links are followed the file must lie inside `root` or one of the `reach` directories, or
    inside its package. Raises SpecError with a Problem at `path` in the spec.
    """
    try:
        scheme = _SCHEME.match(text)
        if scheme is None:
            return _in_project(text, root, reach, directory)
        if scheme[1] == "pkg":
            return _in_package(text, directory)
        raise _wrong_scheme(scheme[1], text)
    except _Wrong as wrong:
        raise SpecError(Problem(wrong.code, wrong.fact, wrong.remedy, path=path)) from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        fact = f"cannot look for {shortened(text)!r}: {reason.lower()}"
        raise SpecError(Problem(Code.CANNOT_READ, fact, path=path)) from error


def _wrong_scheme(scheme: str, text: str) -> _Wrong:
    if is_remote(text):
        fact = f"only a model and the files of its options may be remote, not {shortened(masked(text))!r}"
        return _Wrong(Code.UNKNOWN_SOURCE, fact, "download the file into the project")
    remedy = (
        "write a path inside the project, pkg://PACKAGE/PATH, or an https://, s3://, gs:// or hf:// address"
    )
    return _Wrong(Code.UNKNOWN_SOURCE, f"unknown kind of source: {shortened(scheme + '://')!r}", remedy)


def _in_project(text: str, root: Path, reach: Iterable[str], directory: bool) -> Path:
    if not text.strip():
        raise _Wrong(Code.WRONG_LENGTH, "the path is empty", "write a path inside the project")
    found = (root / text).resolve()
    allowed = [root.resolve(), *(_reached(root, one) for one in reach)]
    if not any(found.is_relative_to(one) for one in allowed):
        remedy = f"copy it into the project, or allow its directory in trtpipe.yaml: reach: [{found.parent}]"
        raise _Wrong(Code.OUTSIDE_PROJECT, f"{shortened(text)!r} is outside the project", remedy)
    if not found.exists():
        raise _Wrong(
            Code.NO_SUCH_FILE, f"no such file: {shortened(text)!r}", _what_is_there(root, Path(text))
        )
    return _file(found, text, directory)


def reached(root: Path, text: str) -> Path:
    """The directory that an entry of `reach` names. Raises SpecError."""
    try:
        return _reached(root, text)
    except _Wrong as wrong:
        raise SpecError(Problem(wrong.code, wrong.fact, wrong.remedy, path=("reach",))) from None


def _reached(root: Path, text: str) -> Path:
    try:
        return (root / Path(text).expanduser()).resolve()
    except RuntimeError as error:
        fact = (
            f"{shortened(text)!r} in 'reach' of trtpipe.yaml refers to the home directory of an unknown user"
        )
        raise _Wrong(Code.NO_HOME, fact, "write the full path") from error


def _file(found: Path, text: str, directory: bool) -> Path:
    if not (found.is_file() or (directory and found.is_dir())):
        kind = "a directory" if found.is_dir() else "not a regular file"
        raise _Wrong(Code.NOT_A_FILE, f"{shortened(text)!r} is {kind}", _files_of(found, Path(text)))
    return found


def _in_package(text: str, directory: bool) -> Path:
    package, _, rest = text.removeprefix("pkg://").partition("/")
    if not package.isidentifier() or not rest:
        raise _Wrong(
            Code.UNKNOWN_SOURCE,
            f"not a file in a package: {shortened(text)!r}",
            "write pkg://PACKAGE/PATH with a top-level package, such as pkg://rapidocr/models/det.onnx",
        )
    roots = _package_directories(package)
    for root in roots:
        found = (root / rest).resolve()
        if not found.is_relative_to(root):
            raise _Wrong(
                Code.OUTSIDE_PROJECT,
                f"{shortened(text)!r} is outside the package {package!r}",
                "name a file inside it",
            )
        if found.exists():
            return _file(found, text, directory)
    remedy = _what_is_there(roots[0], Path(rest), f"pkg://{package}/")
    raise _Wrong(Code.NO_SUCH_FILE, f"no such file in the package {package!r}: {shortened(rest)!r}", remedy)


def _package_directories(package: str) -> list[Path]:
    """Where an installed package keeps its files, found without running any of its code."""
    spec = _package_spec(package)
    if spec is None:
        names = [info.name for info in pkgutil.iter_modules()]
        near = nearest(package, names)
        hint = f"did you mean {near!r}? " if near else ""
        raise _Wrong(
            Code.UNKNOWN_SOURCE, f"no package {package!r} is installed", f"{hint}install it beside trtpipe"
        )
    if not spec.submodule_search_locations:
        raise _Wrong(
            Code.UNKNOWN_SOURCE,
            f"{package!r} is a single module, not a package",
            "name a package that contains files",
        )
    return [Path(location).resolve() for location in spec.submodule_search_locations]


def _package_spec(package: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return importlib.machinery.PathFinder.find_spec(package)


def _what_is_there(root: Path, wanted: Path, prefix: str = "") -> str:
    """What exists where the wanted file was expected, or in the nearest existing directory above."""
    directory = wanted.parent
    while not (root / directory).is_dir() and directory != directory.parent:
        directory = directory.parent
    missing = wanted.relative_to(directory).parts[0]
    return _files_of(root / directory, directory, prefix, missing)


def _files_of(directory: Path, shown: Path, prefix: str = "", missing: str = "") -> str:
    if not directory.is_dir():
        return ""
    entries = itertools.islice(directory.iterdir(), _LISTED_ENTRIES)
    names = sorted(entry.name for entry in entries if not _is_code(entry.name))
    near = nearest(missing, names)
    hint = f"did you mean {prefix + (shown / near).as_posix()!r}? " if near else ""
    place = repr(prefix + shown.as_posix()) if shown != Path() else repr(prefix) if prefix else "the project"
    return f"{hint}{place} holds: {listed(names)}" if names else f"{place} is empty"


def _is_code(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith((".py", ".pyi", ".pxd"))
