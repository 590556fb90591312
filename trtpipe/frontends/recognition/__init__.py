"""Finds the frontend that reads a file: each is asked, and decides by the file's content."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from trtpipe.errors import ModelError, Problem, SpecError
from trtpipe.frontends import Frontend, Proposal, find_frontend, frontend_names
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import SpecModel

_LAST = "onnx"  # its errors about a file of unknown format are the most helpful
_MAYBE_ONNX = (".onnx", "")
"""Suffixes of files that are told to be damaged ONNX models when no parser recognises them."""


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


def options_of(frontend: Frontend, proposed: Mapping[str, object]) -> SpecModel:
    """A proposal's options as the parser's own class. Raises SpecError for each that is required and not proposed."""
    try:
        return frontend.Options.model_validate(dict(proposed))
    except ValidationError as error:
        missing = [one["loc"] for one in error.errors() if one["type"] == "missing"]
        if len(missing) < error.error_count():
            raise  # the parser proposes what its own options refuse
        raise SpecError([_missing(frontend, ".".join(map(str, at))) for at in missing]) from error


def _missing(frontend: Frontend, option: str) -> Problem:
    fact = f"the parser {frontend.name!r} needs model.options.{option}"
    if option == frontend.companion:
        return Problem(Code.PARSER_OPTIONS, f"{fact}, a file", "name the file with --with FILE")
    return Problem(Code.PARSER_OPTIONS, f"{fact}, which only a spec can give")


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
    try:
        proposal = last.propose(path)
    except ModelError as error:
        raise _of_no_format(path, error) from error
    assert proposal is not None, "it raises where it cannot"
    return last, proposal


def _of_no_format(path: Path, error: ModelError) -> ModelError:
    """What is said of a file that no parser recognises: that it is a damaged model, only if it is named like one."""
    (problem, *more) = error.problems
    if more or problem.code is not Code.NOT_ONNX or path.suffix.lower() in _MAYBE_ONNX:
        return error
    remedy = "if it holds only weights, name the model that they are of, and this file with --with"
    return ModelError(Problem(Code.NOT_ONNX, f"no parser recognises '{path}'", remedy, details=problem.fact))
