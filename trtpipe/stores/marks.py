"""The mark of a store, `store.json`: its schema, and the seal by which the user who made it knows it again.

A store in a project may have come with the project. One that this user made carries the user's seal, which says where
the store is as well: a mark can be read wherever a store is shared, and is worth nothing in another place.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from trtpipe.files import read_regular
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


def made_by_another(root: Path) -> bool:
    """Whether there is something in this directory, a store or a part of one, that this user has not made as a store.

    Parts count too: a store that held nothing but what others fetched, counted or timed would be believed by its owner.
    """
    try:
        mark = read_object(read_mark(root))
        return not is_sealed(_sealed(root, text_in(mark, "id")), text_in(mark, "seal"))
    except FileNotFoundError:
        return root.is_dir() and any(root.iterdir())
    except (OSError, Malformed):
        return True


def _sealed(root: Path, name: str) -> bytes:
    return b"trtpipe store " + name.encode() + b" in " + os.fsencode(os.path.realpath(root))
