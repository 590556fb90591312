"""`trtpipe diff`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, say, say_json
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code


def diff_command(
    a: str,
    b: str,
    *,
    companions: Sequence[Path] = (),
    as_json: bool = False,
    markdown: bool = False,
    exit_code: bool = False,
) -> int:
    """Say what differs; with `exit_code`, end with 1 when something does."""
    from trtpipe.app.look.diff import diff

    if as_json and markdown:
        raise SpecError(Code.OPTIONS_EXCLUDE, "--json and --markdown exclude each other", "give one of them")
    record = diff(a, b, Path.cwd(), companions)
    if as_json:
        say_json(record)
    else:
        from trtpipe.text.differences import difference_markdown, difference_text

        say(difference_markdown(record) if markdown else difference_text(record))
    return EXIT_FAILED if exit_code and record["differs"] else EXIT_DONE
