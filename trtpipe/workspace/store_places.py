"""Finds a project's store, and decides which of the directories that a project names may be used.

The order of precedence is: the environment, the project, the user's configuration, the default (one store per user).
The files of a clone may have come from anywhere, so a project on its own may only use a store inside itself that this
user made. A store outside it, directories whose traces it would trust, and directories it would write to are used only
if the user allows them (`trtpipe allow`) or configures them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trtpipe.errors import Problem, SpecError
from trtpipe.homes import cache_home
from trtpipe.loader.project import Project
from trtpipe.permissions import ProjectCode, code_of, is_granted, not_allowed
from trtpipe.problem_codes import Code
from trtpipe.spec.store import IN_PROJECT, StoreSpec
from trtpipe.spec.user import UserSpec
from trtpipe.stores.local import LocalStore
from trtpipe.stores.marks import made_by_another, read_mark

_STORE = "store"


@dataclass(frozen=True, slots=True)
class StorePlace:
    """The directory of a store, and whether it uses lock files."""

    root: Path
    lock_files: bool = False
    own: bool = False
    """Whether the user chose it, and not the project, and it is not among the project's files."""


def store_spec(project: Project) -> StoreSpec:
    """The `store` section of `trtpipe.yaml`."""
    return project.spec.store if project.spec else StoreSpec()


def place_of_store(project: Project, user: UserSpec) -> StorePlace:
    """Where the project's store is. Raises SpecError when the project may not choose that place, or there is none."""
    asked = store_spec(project)
    lock_files = "files" in (asked.locks, user.store.locks)
    if named := os.environ.get("TRTPIPE_STORE"):
        root = expanded(named).absolute()
        return StorePlace(root, lock_files, own=not _is_inside(root, project.root))
    path = asked.path or user.store.path
    if path is None:
        return StorePlace(users_store(), lock_files, own=True)
    root = project.root / expanded(path)
    named_by_project = bool(asked.path) or _is_inside(root, project.root)
    if named_by_project:
        _refuse_unallowed(project, root)
    return StorePlace(root, lock_files, own=not named_by_project)


def users_store() -> Path:
    """The store of all projects of this user. Raises SpecError for a user without a home directory."""
    home = cache_home()
    if home is None:
        raise SpecError(
            Code.NO_HOME,
            "there is no home directory to keep the store in",
            "set XDG_CACHE_HOME or TRTPIPE_STORE to a directory that you can write, or write "
            "`store: project` into trtpipe.yaml",
        )
    return home / _STORE


def _refuse_unallowed(project: Project, root: Path) -> None:
    """Raises SpecError for a store outside the project, or in it but made by somebody else, that nobody allowed."""
    code = _store_code(root, project.root)
    if is_granted(code):
        return
    if not _is_inside(root, project.root):
        raise SpecError(not_allowed(code, (_STORE, "path")))
    if made_by_another(root):
        raise SpecError(
            Problem(
                Code.STORE_OF_ANOTHER,
                f"the store {str(root)!r} came with the project: its results were not built here",
                "remove it and build again; `trtpipe allow` lets this project use it",
            )
        )


def shared_directories(project: Project, user: UserSpec, warn: Callable[[str], None]) -> list[LocalStore]:
    """The directories of other stores to read from: the user's, and those of the project that are allowed."""
    own = [project.root / expanded(text) for text in user.store.shared]
    found = dict.fromkeys(own)
    for text in store_spec(project).shared:
        path = project.root / expanded(text)
        if path in found or may_use(project, path, f"the shared store {text}", warn):
            found[path] = None
    return [LocalStore(path, read_only=True) for path in found]


def may_use(project: Project, path: Path, what: str, warn: Callable[[str], None]) -> bool:
    """Whether a directory that the project names may be used; if not, it warns once."""
    if is_granted(_store_code(path, project.root)) or (_is_inside(path, project.root) and _is_own(path)):
        return True
    warn(f"{what} is not used: only this project names that directory; `trtpipe allow` shows it and asks you")
    return False


def stores_to_allow(project: Project) -> Iterator[ProjectCode]:
    """Every directory in `store` that needs the user's permission."""
    asked = store_spec(project)
    if asked.path:
        root = project.root / expanded(asked.path)
        if not _is_inside(root, project.root) or made_by_another(root):
            yield _store_code(root, project.root)
    directories = [project.root / expanded(text) for text in asked.shared]
    if asked.remote and (directory := directory_of(asked.remote, project.root)) is not None:
        directories.append(directory)
    elif asked.remote and asked.mode == "read-write":
        yield _remote_code(asked.remote)
    for path in directories:
        if not (_is_inside(path, project.root) and _is_own(path)):
            yield _store_code(path, project.root)


def may_send(address: str) -> bool:
    """Whether a project alone may have results sent to a remote: they may be made from other projects' data."""
    return is_granted(_remote_code(address))


def directory_of(address: str, root: Path) -> Path | None:
    """The directory in a remote's address, if it is one; a relative one is in the project."""
    scheme = urlsplit(address).scheme.lower() if "://" in address else ""
    if scheme not in ("", "file"):
        return None
    return root / (Path(unquote(urlsplit(address).path)) if scheme else expanded(address))


def former_store(project: Project, root: Path) -> Path | None:
    """The project's store from before its user had one; None when there is none, or it is still in use."""
    path = project.root / IN_PROJECT
    in_use = path.resolve() == root.resolve()
    return path if not in_use and not path.is_symlink() and (path / "objects").is_dir() else None


def expanded(text: str) -> Path:
    """A path as written, with `~` replaced by the home directory. Raises SpecError."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SpecError(
            Code.NO_HOME,
            f"the store's path {text!r} refers to the home directory of an unknown user",
        ) from error


def _remote_code(address: str) -> ProjectCode:
    return code_of("store", address)


def _store_code(path: Path, root: Path) -> ProjectCode:
    """A store as an item to allow: its path and, inside a project, also the unique content of its `store.json`."""
    real = path.resolve()
    mark = b""
    if _is_inside(path, root):
        with contextlib.suppress(OSError):
            mark = read_mark(real)
    return code_of("store", str(real), [os.fsencode(real), mark])


def _is_own(path: Path) -> bool:
    return path.is_dir() and not made_by_another(path)


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())
