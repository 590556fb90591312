"""The user's names for the nodes of a typed model in the store; the model is read when the first name is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import TrtpipeError

if TYPE_CHECKING:
    from trtpipe.canonical.made_nodes import Caller


def caller_of(model: Callable[[], Path]) -> Callable[[str], str]:
    """A function from node to the user's name for it; for an unreadable model (reported elsewhere) its own name."""

    @cache
    def caller() -> Caller:
        from trtpipe.canonical.made_nodes import Caller
        from trtpipe.canonical.reader import read_skeleton

        with contextlib.suppress(TrtpipeError, OSError):
            return Caller(list(read_skeleton(model()).proto.graph.node))
        return Caller([])

    def called(name: str) -> str:
        return caller()(name)

    return called
