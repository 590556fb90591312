"""A build with nothing to do, answered before the command line is taken apart.

Reading arguments well takes typer and pydantic, which take longer to import than a look at a thousand cells' files. So
`trtpipe build` with nothing but specs and cells behind it looks first. Whatever is not that plain goes the usual way.
"""

from __future__ import annotations

from collections.abc import Sequence


def nothing_to_do(arguments: Sequence[str]) -> int | None:
    """The exit code of a plain build that has nothing to do, which was said; None: the command is to be run."""
    if list(arguments[:1]) != ["build"] or any(one.startswith("-") for one in arguments):
        return None
    from trtpipe.building.stamp import is_unchanged
    from trtpipe.cli.outcome import run_command
    from trtpipe.cli.output import EXIT_DONE, say

    try:
        if not is_unchanged(arguments[1:], ()):
            return None
    except OSError:  # which the command will put in words
        return None

    def body() -> int:
        say("nothing to do")
        return EXIT_DONE

    return run_command(body)
