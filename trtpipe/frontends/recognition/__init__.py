"""Which frontend reads a file: each is asked, and answers by the file's content."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from trtpipe.errors import ModelError
from trtpipe.frontends import Frontend, Proposal, find_frontend, frontend_names

_LAST = "onnx"  # it says best what is wrong with a file that nobody knows


def propose(path: Path, before_last: Callable[[], None] = lambda: None) -> tuple[Frontend, Proposal]:
    """The frontend that takes the file for its own, and what it proposes.

    `before_last` is called when only ONNX is left, whose weights may lie beside the file.
    """
    last = find_frontend(_LAST)
    assert last is not None
    if path.suffix.lower() == f".{_LAST}":  # most are; the others take longer to import than to ask
        with contextlib.suppress(ModelError):
            found = last.propose(path)
            before_last()
            return last, found or Proposal(path)
    for name in frontend_names():
        frontend = find_frontend(name) if name != _LAST else None
        proposal = frontend.propose(path) if frontend is not None else None
        if frontend is not None and proposal is not None:
            return frontend, proposal
    before_last()
    proposal = last.propose(path)
    assert proposal is not None, "it raises where it cannot"
    return last, proposal
