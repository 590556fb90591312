"""Output of all commands: results on stdout, problems and progress on stderr, one exit code."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys

from trtpipe.errors import StepFailed, TrtpipeError

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_LOCK, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


_TURNING = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Characters that break lines or change the writing direction, so that a terminal shows something else."""
_TURNED = {code: f"\\u{code:04x}" for code in _TURNING}
_CONTROL = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
} | _TURNED
"""Control characters: names from a model or a spec may contain terminal commands, so they are escaped."""
_JSON_CONTROL = {code: f"\\u{code:04x}" for code in range(127, 160)} | _TURNED
_WORKFLOW = re.compile(r"^([^\S\n]*):(?=:)|##(?=\[)", re.MULTILINE)
"""What GitHub's runner takes for a command in what a job prints: `::` at the begin of a line, `##[` anywhere."""


_lost: list[str] = []
"""Why stdout could not be written, other than that its reader went away."""


def say(text: str = "") -> None:
    """A line of a result, on stdout."""
    _write(printable(text) + "\n")


def say_json(value: object, *, indent: int | None = 2) -> None:
    """A JSON object on stdout, indented; in a stream of objects, on one line that is flushed at once."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    text = text.translate(_JSON_CONTROL)
    _write((text.replace("##[", r"##\u005b") if in_workflow() else text) + "\n")
    if indent is None:
        _flush()


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except OSError as error:
        _give_up(error)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        _give_up(error)


def _give_up(error: OSError) -> None:
    """Stop writing, but let the work go on, when the reader has closed the pipe (`trtpipe build --json | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        _lost.append((error.strerror or str(error)).lower())


def note(text: str) -> None:
    """A line about progress or a problem, on stderr; it does not matter if nobody reads it."""
    _note(printable(text))


def command_runner(command: str) -> None:
    """Print a workflow command for GitHub's runner. This is the only function that may."""
    _note(command.translate(_CONTROL))


def _note(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def printable(text: str) -> str:
    """The text with control characters except tab and line feed escaped; in a workflow, commands are disabled too."""
    shown = text.translate(_CONTROL)
    return _WORKFLOW.sub(r"\g<0>\\", shown) if in_workflow() else shown


def in_workflow() -> bool:
    """Whether the output is read by a GitHub Actions runner."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def show_error(error: TrtpipeError) -> None:
    """Every problem, a blank line between those that take several lines; then a failed step's log, once."""
    for problem in error.problems:
        note(str(problem))
    if len(error.problems) > 1:
        errors = sum(problem.severity == "error" for problem in error.problems)
        if errors > 1:
            note(f"{errors} errors")
    log = getattr(error, "log", "")
    if isinstance(error, StepFailed) and log.strip():
        note(log.rstrip())


def trouble() -> str:
    """Flushes the rest of a result; returns why stdout could not be written, "" if it was."""
    _flush()
    return _lost[0] if _lost else ""
