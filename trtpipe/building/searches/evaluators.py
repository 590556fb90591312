"""Processes that evaluate (`processes/evaluator.py`), and those of an agent that wait for the next evaluation.

Loading the libraries and running the reference takes longer than an evaluation of a small model. A search on this
machine has one process for all its evaluations. An agent is asked for each of them separately, so it keeps a process
for a while, which the next evaluation of the same search finds.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

from trtpipe.errors import Interrupted, StepFailed
from trtpipe.launcher.children import Streams, interpreter_command, kill, start
from trtpipe.plan.control import Control
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.processes.child import error_from_json
from trtpipe.processes.stage_runs import crash, environment

_POLL_SECONDS = 0.1
IDLE_SECONDS = 60.0
"""How long a process waits for another evaluation: it keeps a model and what the reference gave."""


class EvaluatorProcess:
    """The process that evaluates choices for one model and its data, and the conversation with it.

    The thread that makes this must live as long. `stack` is closed after the process has ended.
    """

    def __init__(self, task: Task, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.log = folder / "child.log"
        self.usable = True
        """Whether it can be asked: it runs, and no answer is on its way."""
        (folder / "task.json").write_text(json.dumps(task.to_json()))
        self.stack = ExitStack()
        log = self.stack.enter_context(self.log.open("wb"))
        command = interpreter_command("trtpipe.processes.evaluator", ".")
        self.process = start(command, environment(), folder, Streams(PIPE, PIPE, log))
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, name="evaluator", daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None, "it is a pipe"
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def ask(self, request: Mapping[str, Any], control: Control) -> dict[str, Any]:
        """The answer to a request. Raises StepFailed (a crash included), Interrupted, or what evaluating raised."""
        assert self.process.stdin is not None, "it is a pipe"
        self.usable = False
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # the process has ended; the error is raised below
        line = self._next_line(control)
        if not line:
            raise crash(self.task, self.process.wait(), self.log)
        self.usable = True
        told = json.loads(line)
        if "error" in told:
            error = error_from_json(told["error"])
            raise error if isinstance(error, StepFailed) else StepFailed(error.problems) from error
        answer: dict[str, Any] = told["answer"]
        return answer

    def _next_line(self, control: Control) -> bytes:
        while True:
            if control.cancelled.is_set():
                raise Interrupted(Code.INTERRUPTED, "interrupted")
            try:
                return self.lines.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue

    def close(self) -> None:
        """End the process."""
        kill(self.process)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None, "it is a pipe"
            with suppress(OSError):
                stream.close()
        self.reader.join()
        self.stack.close()


@dataclass
class Evaluators:
    """Evaluator processes of one agent, of which at most `most` wait for more. Several threads may use it."""

    most: int = 0
    _waiting: list[tuple[str, float, EvaluatorProcess]] = field(default_factory=list)
    """What each is for, since when it waits, and the process; the longest waiting first."""
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def lent(self, subject: str, make: Callable[[], EvaluatorProcess]) -> Iterator[EvaluatorProcess]:
        """A process for a subject, one that waits or a new one; it waits again afterwards if it can still be asked."""
        found = self._take(subject) or make()
        try:
            yield found
        finally:
            self._give_back(subject, found)

    def dismiss(self, idle: float = 0.0) -> None:
        """End those that have waited for so many seconds."""
        before = time.monotonic() - idle
        with self._mutex:
            ended = [one for one in self._waiting if one[1] <= before]
            self._waiting = [one for one in self._waiting if one[1] > before]
        for _, _, process in ended:
            process.close()

    def _take(self, subject: str) -> EvaluatorProcess | None:
        with self._mutex:
            found = next((one for one in reversed(self._waiting) if one[0] == subject), None)
            if found is None:
                return None
            self._waiting.remove(found)
        if found[2].process.poll() is None:
            return found[2]
        found[2].close()
        return None

    def _give_back(self, subject: str, process: EvaluatorProcess) -> None:
        with self._mutex:
            if process.usable:
                self._waiting.append((subject, time.monotonic(), process))
            over = [one[2] for one in self._waiting[: -self.most or None]]
            self._waiting = self._waiting[len(over) :]
        for one in over if process.usable else [*over, process]:
            one.close()
