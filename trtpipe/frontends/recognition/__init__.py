"""Finds the frontend that reads a file: each is asked, and decides by the file's content."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from trtpipe.errors import ModelError, SpecError
from trtpipe.frontends import Frontend, Proposal, find_frontend, frontend_names
from trtpipe.problem_codes import Code

_LAST = "onnx"  # its errors about a file of unknown format are the most helpful


def propose(
    path: Path, before_last: Callable[[], None] = lambda: None, *, companion: Path | None = None
) -> tuple[Frontend, Proposal]:
    """The frontend that recognises the file, and its proposal.

    `before_last` is called when only ONNX is left, whose weights may lie beside the file. `companion` is the file that
    the user named with `--with`. Raises SpecError when there is no such file, or the format has no use for it.
    """
    frontend, proposal = _recognised(path, before_last)
    if companion is None:
        return frontend, proposal
    if not frontend.companion:
        refuse_companion(f"names a second file of a model, and the parser {frontend.name!r} takes none")
    if not companion.is_file():
        raise SpecError(Code.NO_SUCH_FILE, f"no such file: '{companion}'", "give --with the path of a file")
    return frontend, replace(proposal, options={**proposal.options, frontend.companion: companion})


def refuse_companion(why: str, remedy: str = "leave out --with") -> NoReturn:
    """Raises SpecError: `--with` was given where no second file is used. `why` goes on from "--with"."""
    raise SpecError(Code.OPTIONS_EXCLUDE, f"--with {why}", remedy)


def _recognised(path: Path, before_last: Callable[[], None]) -> tuple[Frontend, Proposal]:
    last = find_frontend(_LAST)
    assert last is not None
    if path.suffix.lower() == f".{_LAST}":  # avoids importing the other frontends
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
