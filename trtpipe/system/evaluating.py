"""Evaluations: typed models that are measured and thrown away, each an action of its own in the store.

One child process answers all of a search, started when the first answer is not in the store. The model, its scales and
the data are those of a search action; what is asked of them are the options of an evaluation (`searching.steps`).
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from trtpipe.errors import Interrupted, StepFailed
from trtpipe.executors.local import Control
from trtpipe.json_values import JsonObject, Malformed, object_in, objects_in
from trtpipe.plan.fingerprint import Fingerprint, Record
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import Observer, Store
from trtpipe.plan.trace import Trace
from trtpipe.searching.choices import Choice, Ladder
from trtpipe.searching.steps import EVALUATION_FILE, UNITS_FILE, evaluation, quantize_options
from trtpipe.searching.units import Unit
from trtpipe.stages.task import Task
from trtpipe.system.child import error_from_json
from trtpipe.system.processes import crash, environment
from trtpipe.system.stage_processes import interpreter, kill

_POLL_SECONDS = 0.1


@dataclass
class Evaluations:
    """Evaluations of one subject: a search action, or what stands for one."""

    action: Action
    store: Store
    scratch: Path
    control: Control
    inputs: Callable[[], Mapping[str, Mapping[str, Path]]]
    """Brings the action's inputs to this machine's files; called when the first evaluation must run."""
    anew: bool = False
    """Whether to evaluate what the store knows already."""
    ran: int = 0
    """How many were measured now."""
    _seen: set[str] = field(default_factory=set)
    _child: _Child | None = None

    def __enter__(self) -> Evaluations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.close()

    @property
    def template(self) -> Record:
        """The options of the variant's quantize step."""
        found: Record = self.action.fingerprint.options["quantize"]
        return found

    def report(self, choice: Choice, *, corners: bool = False) -> Record:
        """The measurements of a choice. Raises StepFailed, Interrupted, or what evaluating raised."""
        quantize = quantize_options(self.template, choice)
        validate = {**self.action.fingerprint.options["validate"], "corners": corners}
        return self._answer({"quantize": quantize, "validate": validate}, EVALUATION_FILE)

    def units(self, ladder: Ladder) -> tuple[Unit, ...]:
        """The units of the model for a ladder, the spec's own `keep` left out."""
        quantize = quantize_options(self.template, self.plain(ladder.head, ladder.base))
        profiles = self.action.fingerprint.options["validate"]["profiles"]
        found = self._answer({"units": quantize, "profiles": profiles}, UNITS_FILE)
        return _units_in(found)

    def plain(self, precision: str, base: str | None) -> Choice:
        """A precision with what the spec keeps."""
        return Choice(precision, base, {name: tuple(globs) for name, globs in self.template["keep"].items()})

    def telling(self, observer: Observer) -> Callable[[str, int], None]:
        """Tells an observer of the phase of a search and how many evaluations it asked for."""
        begun: set[str] = set()

        def tell(phase: str, count: int) -> None:
            event = {"event": "evaluated", "address": self.action.address, "phase": phase, "asked": count}
            observer.emit({**event, "ran": self.ran, "begins": phase not in begun})
            begun.add(phase)

        return tell

    def _answer(self, options: Record, file: str) -> Record:
        made = evaluation(self.action.fingerprint, options)
        key = made.key
        known = None if self.anew and key not in self._seen else self._known(key, file)
        if known is None:
            with self.store.lock(key, self.control.check):
                known = None if self.anew else self._known(key, file)
                known = known or self._run(made, key, options, file)
        self._seen.add(key)
        answer: Record = known.summary["answer"]
        return answer

    def _known(self, key: str, file: str) -> Trace | None:
        """The trace of an answer, unless it is none: who shares a store may have put anything there."""
        from trtpipe.comparing.reports import read_report

        trace = self.store.trace(key)
        try:
            answer = object_in(trace.summary, "answer") if trace is not None else {}
            if trace is not None and file == EVALUATION_FILE:
                read_report(answer)
            elif trace is not None:
                _units_in(answer)
        except Malformed:
            return None
        return trace

    def _run(self, made: Fingerprint, key: str, options: Record, file: str) -> Trace:
        began = time.perf_counter()
        if self._child is None:
            self._child = self._start()
        answer = self._child.ask(options)
        self.ran += file == EVALUATION_FILE
        path = self.scratch / file
        path.write_text(json.dumps(answer, sort_keys=True, indent=1) + "\n")
        outputs = {file: self.store.put(path)}
        seconds = time.perf_counter() - began
        trace = Trace(
            key, f"{self.action.address}/evaluate", made.record(), outputs, {"answer": answer}, seconds
        )
        self.store.record(trace)
        return trace

    def _start(self) -> _Child:
        folder = self.scratch / "evaluator"
        (folder / "out").mkdir(parents=True)
        local = {name: value for name, value in self.action.step.local.items() if name in ("root", "threads")}
        options = self.action.fingerprint.options
        task = Task("evaluate", options, self.inputs(), folder / "out", local)
        return _Child(task, folder, self.control)


def _units_in(answer: JsonObject) -> tuple[Unit, ...]:
    """Raises Malformed."""
    return tuple(Unit.from_json(one) for one in objects_in(answer, "units"))


class _Child:
    """The process that evaluates, and the conversation with it."""

    def __init__(self, task: Task, folder: Path, control: Control) -> None:
        self.task, self.folder, self.control = task, folder, control
        self.log = folder / "child.log"
        (folder / "task.json").write_text(json.dumps(task.to_json()))
        self.stack = ExitStack()
        log = self.stack.enter_context(self.log.open("wb"))
        self.process = subprocess.Popen(
            interpreter("trtpipe.system.evaluator", "."),
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, name="evaluator", daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None, "it is a pipe"
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request. Raises StepFailed (a crash included), Interrupted, or what evaluating raised."""
        assert self.process.stdin is not None, "it is a pipe"
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended: what became of it is told below
        line = self._next_line()
        if not line:
            raise crash(self.task, self.process.wait(), self.log)
        told = json.loads(line)
        if "error" in told:
            error = error_from_json(told["error"])
            raise error if isinstance(error, StepFailed) else StepFailed(error.problems) from error
        answer: dict[str, Any] = told["answer"]
        return answer

    def _next_line(self) -> bytes:
        while True:
            if self.control.cancelled.is_set():
                raise Interrupted("interrupted")
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
