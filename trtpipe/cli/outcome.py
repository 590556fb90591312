"""The end of every command: errors as message and exit code, interrupts, output that could not be written."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable

from trtpipe.cli.annotations import annotate
from trtpipe.cli.output import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, note, show_error, trouble
from trtpipe.errors import SpecError, TrtpipeError
from trtpipe.problem_codes import Code


def run_command(body: Callable[[], int]) -> int:
    """Run a command's body; a TrtpipeError becomes its message and exit code, a bug keeps its traceback.

    From here on Ctrl-C and SIGTERM are a KeyboardInterrupt, so that whatever is under way can clean up.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be valid UTF-8
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        _refuse_no_directory()
        code = body()
    except TrtpipeError as error:
        show_error(error)
        annotate(error.problems)
        code = error.exit_code
    except KeyboardInterrupt:
        note("interrupted")
        code = EXIT_INTERRUPTED
    lost = trouble()
    if lost:
        note(f"cannot write the output: {lost}")
    return code or (EXIT_USAGE if lost else EXIT_DONE)


def _refuse_no_directory() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is not needed for this
    except OSError:
        raise SpecError(
            Code.NO_SUCH_FILE, "the working directory does not exist any more", "change to one that does"
        ) from None
