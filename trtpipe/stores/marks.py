"""`store.json`, which marks a directory as a store: its schema, and the seal of the user who made it.

A store inside a project may have been delivered with the project by somebody else. A store that this user made carries
the user's seal, which includes the store's location: wherever a store is shared its `store.json` can be read, and a
copy of it is worthless in another place.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

from trtpipe.errors import StoreError
from trtpipe.files import owner_prefix, read_regular, write_whole
from trtpipe.homes import is_sealed, seal_of
from trtpipe.json_values import Malformed, integer_in, read_object, text_in
from trtpipe.problem_codes import Code

MARK = "store.json"
_MOST_BYTES = 1 << 16


def new_mark(root: Path, schema: int) -> bytes:
    """The text of `store.json` for a new store in this directory."""
    name = secrets.token_hex(16)
    return json.dumps({"schema": schema, "id": name, "seal": seal_of(_sealed(root, name))}).encode()


def read_mark(root: Path) -> bytes:
    """The text of a directory's `store.json`. Raises OSError, also when it is not a regular file or too large."""
    return read_regular(root / MARK, _MOST_BYTES)


def store_id(root: Path) -> str:
    """The id in a directory's `store.json`; empty if there is none that can be read."""
    try:
        return text_in(read_object(read_mark(root)), "id")
    except (OSError, Malformed):
        return ""


def lay_mark(root: Path, schema: int) -> None:
    """Create a directory with its `store.json`, unless another process does so first. Raises OSError.

    The directory appears together with `store.json`, so that other processes do not mistake it for somebody else's
    store.
    """
    if (root / MARK).exists():
        return
    if root.is_dir():  # the directory may be a mount point, whose parent is not writable
        write_whole(root / MARK, new_mark(root, schema))
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    made = root.parent / f".{owner_prefix()}{secrets.token_hex(4)}"
    made.mkdir()
    try:
        write_whole(made / MARK, new_mark(root, schema))
        try:
            made.rename(root)
        except OSError:  # another process was first
            if not (root / MARK).exists():
                write_whole(root / MARK, new_mark(root, schema))
    finally:
        shutil.rmtree(made, ignore_errors=True)


def refuse_other_schema(root: Path, known: int) -> None:
    """Raises StoreError if a store's `store.json` has another schema than the known one, or is damaged."""
    try:
        schema = integer_in(read_object(read_mark(root)), "schema")
    except Malformed:
        raise StoreError(
            Code.STORE_SCHEMA,
            f"{root / MARK} is damaged",
            "restore it, or point $TRTPIPE_STORE to another directory",
        ) from None
    if schema != known:
        raise StoreError(
            Code.STORE_SCHEMA,
            f"the store {root} has schema {schema}, this trtpipe writes schema {known}",
            "use a newer trtpipe, or point $TRTPIPE_STORE to another directory",
        )


def made_by_another(root: Path) -> bool:
    """Whether this directory contains a store, or a part of one, that this user did not make.

    Parts count too: downloads, project lists or timing caches that somebody else put there would be trusted otherwise.
    """
    found = _is_of_another(root)
    if found is None and root.is_dir() and _holds_anything(root):
        found = _is_of_another(root)  # another process may have created it between the two checks
        return found is None or found
    return bool(found)


def _holds_anything(root: Path) -> bool:
    """Whether a directory contains anything besides a `store.json` being written and a new volume's `lost+found`."""
    return any(
        not entry.name.startswith(f".{MARK}.") and entry.name != "lost+found" for entry in root.iterdir()
    )


def _is_of_another(root: Path) -> bool | None:
    """Whether `store.json` belongs to another user; None when there is none."""
    try:
        mark = read_object(read_mark(root))
        return not is_sealed(_sealed(root, text_in(mark, "id")), text_in(mark, "seal"))
    except FileNotFoundError:
        return None
    except (OSError, Malformed):
        return True


def _sealed(root: Path, name: str) -> bytes:
    return b"trtpipe store " + name.encode() + b" in " + os.fsencode(os.path.realpath(root))
