"""Runs a stage's function in a child process and handles cancelling, killing and crashes.

The child has a process group of its own, so that Ctrl-C in a terminal reaches only the parent, which decides what to
do.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trtpipe.errors import Interrupted, StepFailed
from trtpipe.json_values import JsonObject, read_object
from trtpipe.launcher.environment import environment_of
from trtpipe.permissions import grants_for_children
from trtpipe.plan.control import Control
from trtpipe.plan.ports import ActionResult
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.processes.child import NO_RESULT, error_from_json, of_os_error
from trtpipe.processes.stage_processes import StageProcess, start_server, start_stage
from trtpipe.timings import add_foreign, span

_POLL_SECONDS = 0.05
_LOG_TAIL = 4000
_SENT = {
    "SIGKILL": "it may have run out of memory",
    "SIGTERM": "somebody stopped it",
    "SIGINT": "somebody stopped it",
    "SIGHUP": "somebody stopped it",
}


@dataclass(slots=True)
class Telling:
    """Passes on the events that a child has written to its events file since the last call."""

    file: Path
    hear: Callable[[JsonObject], None]
    _read: int = 0

    def __call__(self) -> None:
        """Pass new events on."""
        try:
            with self.file.open("rb") as stream:
                stream.seek(self._read)
                text = stream.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self.hear(read_object(line))


def run_in_child(
    task: Task, folder: Path, control: Control, tick: Callable[[], None] = lambda: None
) -> ActionResult:
    """Run the task's function in a child process; `tick` is called a few times a second.

    Raises StepFailed (also for a crash), Interrupted, or what the function raised.
    """
    with span("start the process", "step"):
        (folder / "task.json").write_text(json.dumps(task.to_json()))
        child = start_stage(
            task.stage, folder, environment(fetching=task.stage == "fetch" and not task.inputs)
        )
    try:
        with span(f"{task.stage}, in its process", "step"):
            code = _wait(child, control, tick)
    finally:
        child.end()
    return _result(task, folder, code, folder / "child.log")


def expect_stages() -> None:
    """Prepare for stages that will be run soon, so that the first does not wait for its libraries."""
    start_server(environment())


def environment(*, fetching: bool = False) -> dict[str, str]:
    """The child's environment: a fixed list of variables, the import path of this trtpipe, and what it may run.

    `fetching` adds credentials for remote sources; no other child gets a secret.
    """
    # The child must import this very trtpipe, also one that runs from a source tree.
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "TRTPIPE_PARENT": str(os.getpid())}
    return {**environment_of("fetch" if fetching else "stage"), **own, **grants_for_children()}


def _wait(child: StageProcess, control: Control, tick: Callable[[], None]) -> int:
    """The exit code; on cancel or kill the child is ended and Interrupted is raised."""
    while True:
        code = child.poll(_POLL_SECONDS)
        tick()
        if code is not None:
            return code
        if control.cancelled.is_set():
            raise Interrupted(Code.INTERRUPTED, "interrupted")


def _result(task: Task, folder: Path, code: int, log: Path) -> ActionResult:
    answer = folder / "result.json"
    if not answer.exists():
        raise crash(task, code, log)
    result = json.loads(answer.read_bytes())
    add_foreign(result["spans"], f"stage: {task.stage}")
    if "error" in result:
        raise error_from_json(result["error"])
    files = {name: folder / text for name, text in result["files"].items()}
    return ActionResult(files, result["summary"])


def crash(task: Task, code: int, log: Path) -> StepFailed:
    """The error for a child that ended without a result."""
    if code == NO_RESULT:
        return of_os_error(OSError("its result could not be written"), log.parent)
    tail = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    if "Traceback" in tail or "MemoryError" in tail:
        return StepFailed(
            Code.STEP_CRASHED, f"the {task.stage} step failed with a bug in trtpipe or a library", log=tail
        )
    if code < 0:
        name = signal.Signals(-code).name
        hint = _SENT.get(name, "a library that it uses crashed")
        return StepFailed(Code.STEP_CRASHED, f"the {task.stage} step was ended by {name}: {hint}", log=tail)
    return StepFailed(
        Code.STEP_CRASHED, f"the {task.stage} step ended with code {code} and no result", log=tail
    )
