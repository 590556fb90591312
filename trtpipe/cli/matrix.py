"""`trtpipe ci matrix`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from trtpipe.cli.output import EXIT_DONE, say_json
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code


def matrix_command(specs: Sequence[str], only: Sequence[str], purpose: str, most: int | None) -> int:
    """Print the matrix on one line, the form that a workflow step's output needs."""
    from trtpipe.app.author.ci_matrix import Purpose, matrix_of
    from trtpipe.workspace.workspace import open_workspace

    if purpose not in get_args(Purpose):
        raise SpecError(
            Code.UNKNOWN_VALUE,
            f"unknown value {purpose!r} for --for",
            "write --for build or --for run",
        )
    say_json(matrix_of(open_workspace(specs, only), cast(Purpose, purpose), most), indent=None)
    return EXIT_DONE
