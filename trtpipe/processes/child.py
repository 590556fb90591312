"""The process in which a stage's body runs: `python -m trtpipe.processes.child DIRECTORY`.

Reads `task.json` there, runs the stage's function, writes `result.json`. It is a separate process because the libraries
that stages use can crash, hang or exhaust the memory, and because an interrupt must end it at once. It dies with its
parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trtpipe import errors
from trtpipe.errors import Location, Problem, StepFailed, TrtpipeError
from trtpipe.files import is_disk_full, write_whole
from trtpipe.launcher.lifeline import end_with_parent
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code, code_numbered
from trtpipe.timings import span, start_recording

NO_RESULT = 74
"""The exit code of a child that could not even write its result; sysexits.h calls it EX_IOERR."""
_FULL = 1 << 20
_MOST_SPANS = 200


def error_json(error: TrtpipeError) -> dict[str, Any]:
    """An error as a JSON object."""
    problems = [{**asdict(problem), "code": str(problem.code)} for problem in error.problems]
    return {"kind": type(error).__name__, "problems": problems, "log": getattr(error, "log", "")}


def error_from_json(data: dict[str, Any]) -> TrtpipeError:
    """The error read back, of the same class."""
    problems = [
        Problem(
            code_numbered(item["code"]),
            item["fact"],
            item["remedy"],
            Location(**item["where"]) if item["where"] else None,
            tuple(item["path"]),
            item["severity"],
            item["details"],
        )
        for item in data["problems"]
    ]
    kind = getattr(errors, data["kind"], TrtpipeError)
    assert isinstance(kind, type) and issubclass(kind, TrtpipeError), data["kind"]
    return kind(problems)


def main(folder: str) -> int:
    """Run the task of a directory; returns 0 when a result was written, even if that is an error."""
    obey_parent()
    place = Path(folder)
    recording = start_recording("stage")
    task = Task.from_json(json.loads((place / "task.json").read_bytes()))
    try:
        with span("import the stage", "stage"):
            from trtpipe.stages.bodies import BODIES

        with span(f"run {task.stage}", "stage"):
            made = BODIES[task.stage](task)
        result: dict[str, Any] = {
            "files": {name: str(path) for name, path in made.files.items()},
            "summary": dict(made.summary) | {"peak_rss": _peak_rss()},
        }
    except TrtpipeError as error:
        result = {"error": error_json(error)}
    except OSError as error:
        result = {"error": error_json(of_os_error(error, place))}
    result["spans"] = [one.to_json() for one in recording.spans[:_MOST_SPANS]]
    try:
        write_whole(place / "result.json", json.dumps(result, allow_nan=False).encode(), durable=False)
    except OSError as error:
        sys.stderr.write(f"{of_os_error(error, place)}\n")
        return NO_RESULT
    return 0


def of_os_error(error: OSError, place: Path) -> StepFailed:
    """The error for a step that failed with an OSError in `place`."""
    full = is_disk_full(error)
    if error.errno is None:  # numpy reports a short write without its cause, which is usually a full disk
        with contextlib.suppress(OSError):
            full = shutil.disk_usage(place).free < _FULL
    if full:
        return StepFailed(
            Code.DISK_FULL,
            f"no space left on the device that holds {place.absolute()}",
            "nothing was lost; free some space, or point $TRTPIPE_STORE to another disk, and build again",
        )
    return StepFailed(
        Code.SYSTEM_REFUSED, f"{error.filename or place.absolute()}: {(error.strerror or str(error)).lower()}"
    )


def _peak_rss() -> int | None:
    """Peak resident memory in bytes; None when the system does not report it."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def obey_parent() -> None:
    """Ends this process when its parent ends, and leaves Ctrl-C to it: the parent decides when a step stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.environ.get("TRTPIPE_PARENT")
    end_with_parent(int(parent) if parent else None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
