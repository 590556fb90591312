"""The mark of a store, `store.json`: its schema, and the seal by which the user who made it knows it again.

A store in a project may have come with the project. One that this user made carries the user's seal, which says where
the store is as well: a mark can be read wherever a store is shared, and is worth nothing in another place.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

from trtpipe.files import owner_prefix, read_regular, write_whole
from trtpipe.homes import is_sealed, seal_of
from trtpipe.json_values import Malformed, read_object, text_in

MARK = "store.json"
_MOST_BYTES = 1 << 16


def new_mark(root: Path, schema: int) -> bytes:
    """The text of the mark of a new store in this directory."""
    name = secrets.token_hex(16)
    return json.dumps({"schema": schema, "id": name, "seal": seal_of(_sealed(root, name))}).encode()


def read_mark(root: Path) -> bytes:
    """The text of a store's mark. Raises OSError, also for what is no file of that size."""
    return read_regular(root / MARK, _MOST_BYTES)


def lay_mark(root: Path, schema: int) -> None:
    """Have a directory with a mark in it, whoever makes it first. Raises OSError.

    A new one appears with its mark: who looks meanwhile must not take half a store for somebody else's.
    """
    if (root / MARK).exists():
        return
    if root.is_dir():  # perhaps where a volume is mounted, whose parent nobody may write
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


def made_by_another(root: Path) -> bool:
    """Whether there is something in this directory, a store or a part of one, that this user has not made as a store.

    Parts count too: a store that held nothing but what others fetched, counted or timed would be believed by its owner.
    """
    found = _is_of_another(root)
    if found is None and root.is_dir() and _holds_anything(root):
        found = _is_of_another(root)  # another process may have made it between the two looks
        return found is None or found
    return bool(found)


def _holds_anything(root: Path) -> bool:
    """Whether there is more in a directory than the mark that a process is writing, or a new volume's `lost+found`."""
    return any(
        not entry.name.startswith(f".{MARK}.") and entry.name != "lost+found" for entry in root.iterdir()
    )


def _is_of_another(root: Path) -> bool | None:
    """Whether a store's mark is not this user's; None where there is no mark."""
    try:
        mark = read_object(read_mark(root))
        return not is_sealed(_sealed(root, text_in(mark, "id")), text_in(mark, "seal"))
    except FileNotFoundError:
        return None
    except (OSError, Malformed):
        return True


def _sealed(root: Path, name: str) -> bytes:
    return b"trtpipe store " + name.encode() + b" in " + os.fsencode(os.path.realpath(root))
