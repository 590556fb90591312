"""Which store a project has, as its `trtpipe.yaml` and the environment say."""

from __future__ import annotations

import os
from pathlib import Path

from trtpipe.errors import SpecError
from trtpipe.spec.project import ProjectSpec, StoreSpec
from trtpipe.stores.local import LocalStore

_DEFAULT = ".trtpipe/store"


def open_store(root: Path, spec: ProjectSpec | None) -> LocalStore:
    """The store of the project at `root`. Nothing is made yet. Raises SpecError."""
    asked = spec.store if spec else StoreSpec()
    named = os.environ.get("TRTPIPE_STORE")
    inside = named or asked.path or _DEFAULT
    place = _expanded(inside)
    return LocalStore(
        place.absolute() if named else root / place, project=root, lock_files=asked.locks == "files"
    )


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SpecError(f"the store's path {text!r} names nobody's home directory") from error
