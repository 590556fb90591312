"""The mark of a store, `store.json`: its schema, and the seal by which the user who made it knows it again.

A store in a project may have come with the project. One that this user made carries the user's seal.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from trtpipe.homes import is_sealed, seal_of
from trtpipe.json_values import Malformed, read_object, text_in

MARK = "store.json"
_HOLDS = ("objects", "traces", "from")


def new_mark(schema: int) -> bytes:
    """The text of a new store's mark."""
    name = secrets.token_hex(16)
    return json.dumps({"schema": schema, "id": name, "seal": seal_of(_sealed(name))}).encode()


def made_by_another(root: Path) -> bool:
    """Whether there is a store in this directory that this user has not made."""
    try:
        mark = read_object((root / MARK).read_bytes())
        return not is_sealed(_sealed(text_in(mark, "id")), text_in(mark, "seal"))
    except FileNotFoundError:
        return any((root / name).exists() for name in _HOLDS)
    except (OSError, Malformed):
        return True


def _sealed(name: str) -> bytes:
    return b"trtpipe store " + name.encode()
