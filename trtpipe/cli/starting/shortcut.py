"""Answers builds with nothing to do, `select`, and shells that complete a command, before the command line is parsed.

Parsing arguments needs typer and pydantic, which take longer to import than checking a thousand cells' files. So a
`trtpipe build` with only specs, cells and options that change no result is checked here first. Everything else is
parsed as usual.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

_WITHOUT_EFFECT = ("--keep-going", "-k", "--offline")
"""Options that matter only when something is built."""


@dataclass(slots=True)
class _Asked:
    """A command line as far as it is understood here."""

    specs: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)
    as_json: bool = False


def answered(arguments: Sequence[str]) -> int | None:
    """The exit code of a command that needs no parsing, after it was run; None if it must be parsed."""
    code = _completed()
    if code is not None:
        return code
    return _selected(arguments[1:]) if list(arguments[:1]) == ["select"] else nothing_to_do(arguments)


def _selected(arguments: Sequence[str]) -> int | None:
    from trtpipe.cli.outcome import run_command
    from trtpipe.cli.shipping.select import read_arguments, select_command

    asked = read_arguments(arguments)
    return None if asked is None else run_command(lambda: select_command(asked))


def _completed() -> int | None:
    """The exit code after telling a shell how its command line may go on; None if no shell asks that."""
    instruction = os.environ.get("_TRTPIPE_COMPLETE")
    if not instruction:
        return None
    from trtpipe.cli.completion import answer

    return answer(instruction)


def nothing_to_do(arguments: Sequence[str]) -> int | None:
    """The exit code of a build with nothing to do, after reporting that; None if the command must run."""
    asked = _asked_of(arguments)
    if asked is None:
        return None
    from trtpipe.building.stamp import is_unchanged
    from trtpipe.cli.build_end import one_closing
    from trtpipe.cli.outcome import run_command
    from trtpipe.cli.output import EXIT_DONE

    try:
        if not is_unchanged(asked.specs, asked.only):
            from trtpipe.cli.early import expect_first_build

            expect_first_build()
            return None
    except OSError:  # the command itself will report the error
        return None

    def body() -> int:
        with one_closing(as_json=asked.as_json) as closing:
            closing.text = "nothing to do"
        return EXIT_DONE

    return run_command(body)


def _asked_of(arguments: Sequence[str]) -> _Asked | None:
    """What a build asks for; None if it is no build, or has an option or a value that is not known here."""
    if list(arguments[:1]) != ["build"]:
        return None
    asked, left = _Asked(), list(arguments[1:])
    while left:
        one = left.pop(0)
        if not one.startswith("-"):
            asked.specs.append(one)
        elif one == "--json":
            asked.as_json = True
        elif one in ("--only", "--jobs", "-j"):
            value = left.pop(0) if left else "-"
            if value.startswith("-") or (one != "--only" and not _is_number(value)):
                return None
            asked.only += [value] if one == "--only" else []
        elif one not in _WITHOUT_EFFECT:
            return None
    return asked


def _is_number(text: str) -> bool:
    """Whether it is a number of jobs; others are refused by the command."""
    return text.isascii() and text.isdigit() and int(text[:9]) > 0
