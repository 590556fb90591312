"""What a command prints and how it ends: results on stdout, problems and progress on stderr, one exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from trtpipe.errors import StepFailed, TrtpipeError

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_LOCK, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def say(text: str = "") -> None:
    """A line of a result, on stdout."""
    sys.stdout.write(text + "\n")


def say_json(value: Any) -> None:
    """A JSON object, indented, on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def note(text: str) -> None:
    """A line of progress or trouble, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def show_error(error: TrtpipeError) -> None:
    """Every problem, a blank line between those that take several lines; a failed step's log once."""
    log = getattr(error, "log", "")
    if isinstance(error, StepFailed) and log.strip():
        note(log.rstrip())
    for problem in error.problems:
        note(str(problem))
    if len(error.problems) > 1:
        errors = sum(problem.severity == "error" for problem in error.problems)
        if errors > 1:
            note(f"{errors} errors")


def run_command(command: Callable[[], int]) -> int:
    """Run a command's body; a TrtpipeError becomes its message and exit code, a bug keeps its traceback."""
    try:
        code = command()
        sys.stdout.flush()
    except TrtpipeError as error:
        show_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        note("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe went away (`trtpipe plan | head`): no more output, and no complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    return code
