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
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from trtpipe.errors import Interrupted, StepFailed
from trtpipe.plan.control import Control
from trtpipe.plan.fingerprint import Fingerprint, Record
from trtpipe.plan.graph import Action
from trtpipe.plan.options import UNPLACED, EvaluateOptions, QuantizeOptions, UnitsOptions
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
    local: Record
    """What the evaluating process is told beside its options."""
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

    @cached_property
    def subject(self) -> EvaluateOptions:
        """What is made and measured when nothing is chosen."""
        return EvaluateOptions.from_record(self.action.fingerprint.options)

    @property
    def template(self) -> QuantizeOptions:
        """The options of the variant's quantize step."""
        return self.subject.quantize

    def report(self, choice: Choice, *, corners: bool = False) -> Record:
        """The measurements of a choice. Raises StepFailed, Interrupted, or what evaluating raised."""
        quantize = quantize_options(self.template, choice)
        validate = replace(self.subject.validate, corners=corners)
        return self._answer(replace(self.subject, quantize=quantize, validate=validate), EVALUATION_FILE)

    def units(self, ladder: Ladder) -> tuple[Unit, ...]:
        """The units of the model for a ladder, the spec's own `keep` left out."""
        quantize = quantize_options(self.template, self.plain(ladder.head, ladder.base))
        profiles = self.subject.validate.profiles
        asked = UnitsOptions(units=quantize, profiles=profiles, origins=UNPLACED)
        found = self._answer(asked, UNITS_FILE)
        return tuple(Unit.from_json(one) for one in found["units"])

    def plain(self, precision: str, base: str | None) -> Choice:
        """A precision with what the spec keeps."""
        return Choice(precision, base, self.template.keep)

    def telling(self, observer: Observer) -> Callable[[str, int], None]:
        """Tells an observer of the phase of a search and how many evaluations it asked for."""
        begun: set[str] = set()

        def tell(phase: str, count: int) -> None:
            event = {
                "event": "evaluated",
                "address": str(self.action.address),
                "phase": phase,
                "asked": count,
            }
            observer.emit({**event, "ran": self.ran, "begins": phase not in begun})
            begun.add(phase)

        return tell

    def _answer(self, options: EvaluateOptions | UnitsOptions, file: str) -> Record:
        made = evaluation(self.action.fingerprint, options)
        key = made.key
        known = None if self.anew and key not in self._seen else self.store.trace(key)
        if known is None:
            with self.store.lock(key, self.control.check):
                known = None if self.anew else self.store.trace(key)
                known = known or self._run(made, key, file)
        self._seen.add(key)
        return known.summary["answer"]  # type: ignore[no-any-return]

    def _run(self, made: Fingerprint, key: str, file: str) -> Trace:
        began = time.perf_counter()
        if self._child is None:
            self._child = self._start()
        answer = self._child.ask(made.options)
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
        options = self.action.fingerprint.options
        task = Task("evaluate", options, self.inputs(), folder / "out", self.local)
        return _Child(task, folder, self.control)


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
