"""Answers a build with nothing to do, and `select`, before the command line is parsed.

Parsing arguments needs typer and pydantic, which take longer to import than checking a thousand cells' files. So a
plain `trtpipe build` with only specs and cells as arguments is checked here first. Everything else is parsed as usual.
"""

from __future__ import annotations

from collections.abc import Sequence


def answered(arguments: Sequence[str]) -> int | None:
    """The exit code of a command that needs no parsing, after it was run; None if it must be parsed."""
    return _selected(arguments[1:]) if list(arguments[:1]) == ["select"] else nothing_to_do(arguments)


def _selected(arguments: Sequence[str]) -> int | None:
    from trtpipe.cli.outcome import run_command
    from trtpipe.cli.shipping.select import read_arguments, select_command

    asked = read_arguments(arguments)
    return None if asked is None else run_command(lambda: select_command(asked))


def nothing_to_do(arguments: Sequence[str]) -> int | None:
    """The exit code of a plain build with nothing to do, after reporting that; None if the command must run."""
    if list(arguments[:1]) != ["build"] or any(one.startswith("-") for one in arguments):
        return None
    from trtpipe.building.stamp import is_unchanged
    from trtpipe.cli.outcome import run_command
    from trtpipe.cli.output import EXIT_DONE, say

    try:
        if not is_unchanged(arguments[1:], ()):
            return None
    except OSError:  # the command itself will report the error
        return None

    def body() -> int:
        say("nothing to do")
        return EXIT_DONE

    return run_command(body)
