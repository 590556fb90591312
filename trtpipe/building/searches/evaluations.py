"""Evaluations: typed models that are measured and thrown away. Each is an action of its own in the store.

One child process answers all requests of a search; it is started when the first answer is not in the store. On a fleet
the agents evaluate, with processes that wait for the next evaluation (`evaluators.py`); those that a search is sure to
ask for run at the same time. The model, its scales and the data are those of the search action; the requested choice is
the evaluation's options (`search.steps`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trtpipe.building.searches.evaluators import EvaluatorProcess, Evaluators
from trtpipe.digests import key_of
from trtpipe.errors import StepFailed
from trtpipe.executors.local import carry_out
from trtpipe.json_values import JsonObject, Malformed, as_object, object_in, objects_in
from trtpipe.plan.address import Address, Place
from trtpipe.plan.control import Control
from trtpipe.plan.dispatcher import Lookup, run_once
from trtpipe.plan.events import SearchProgress
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action
from trtpipe.plan.options import UNPLACED, EvaluateOptions, QuantizeOptions, UnitsOptions
from trtpipe.plan.ports import ActionResult, Observer, Store
from trtpipe.plan.task import Task
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.search.choices import Choice, Ladder
from trtpipe.search.steps import EVALUATION_FILE, UNITS_FILE, evaluation, quantize_options
from trtpipe.search.units import Unit

if TYPE_CHECKING:
    from trtpipe.building.performer import Performer

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Other machines that evaluate."""

    measure: Callable[[Action], Trace]
    """Runs an evaluation there, and records its trace in the store."""
    at_once: int
    """How many they run at a time."""


@dataclass
class Evaluations:
    """Evaluations of one subject: a search action, or a stand-in for one."""

    action: Action
    store: Store
    scratch: Path
    control: Control
    inputs: Callable[[], Mapping[str, Mapping[str, Path]]]
    """Puts the action's inputs on this machine; called when the first evaluation must run."""
    local: Record
    """Information for the evaluating process besides its options."""
    anew: bool = False
    """Whether to evaluate again what is in the store."""
    elsewhere: Elsewhere | None = None
    """Measures choices on other machines; None if this one does."""
    ran: int = 0
    """How many were measured now."""
    _seen: set[str] = field(default_factory=set)
    _child: EvaluatorProcess | None = None

    def __enter__(self) -> Evaluations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.close()

    @cached_property
    def subject(self) -> EvaluateOptions:
        """The subject, built and measured with an empty choice."""
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
        """The units of the model for a ladder of precisions, without those in the spec's own `keep`."""
        quantize = quantize_options(self.template, self.plain(ladder.head, ladder.base))
        profiles = self.subject.validate.profiles
        asked = UnitsOptions(units=quantize, profiles=profiles, origins=UNPLACED)
        return _units_in(self._answer(asked, UNITS_FILE))

    def plain(self, precision: str, base: str | None) -> Choice:
        """A choice of one precision with only what the spec keeps."""
        return Choice(precision, base, self.template.keep)

    def telling(self, observer: Observer, about: Place | None = None) -> Callable[[str, int], None]:
        """Reports the phase of a search and its number of evaluations to an observer.

        `about` is the variant, if the request does not come from a search of the plan.
        """
        begun: set[str] = set()

        def tell(phase: str, count: int) -> None:
            begins = phase not in begun
            observer.emit(SearchProgress(about or self.action.address, phase, count, self.ran, begins))
            begun.add(phase)

        return tell

    def _answer(self, options: EvaluateOptions | UnitsOptions, file: str) -> Record:
        asked = Action(
            Address(self.action.address.place, "evaluate"), evaluation(self.action.fingerprint, options)
        )
        trace = self._known(asked, file) or self._evaluated(asked, file)
        self._seen.add(asked.key)
        return as_object(trace.summary["answer"], "answer")

    def _evaluated(self, asked: Action, file: str) -> Trace:
        """The trace of an evaluation that is run now, or taken from another process that is running it."""
        execute = partial(carry_out, asked, partial(self._perform, file), self.store, self.control)
        if self.elsewhere is not None:
            execute = partial(self._answered_elsewhere, asked, file, self.elsewhere)
        past = Lookup(partial(self._known, file=file), partial(self._stored, file=file))
        return run_once(asked, execute, self.store, self.control, past).trace

    def _answered_elsewhere(self, asked: Action, file: str, elsewhere: Elsewhere) -> Trace:
        done = elsewhere.measure(asked)
        self.ran += file == EVALUATION_FILE
        trace = self._stored(asked, file)
        if trace is None:
            raise StepFailed(Code.AGENT_ANSWER, f"an agent's evaluation for {done.address} cannot be used")
        return trace

    def ahead(self, measure: Callable[[Choice], object], choices: Sequence[Choice]) -> None:
        """Measure choices that will all be asked for, several at a time if other machines do it."""
        if self.elsewhere is not None and len(choices) > 1:
            with ThreadPoolExecutor(min(self.elsewhere.at_once, len(choices)), "evaluation") as threads:
                list(threads.map(measure, choices))

    def _known(self, action: Action, file: str) -> Trace | None:
        """A stored evaluation; with `anew`, only one that was measured by this object."""
        return None if self.anew and action.key not in self._seen else self._stored(action, file)

    def _stored(self, action: Action, file: str) -> Trace | None:
        """The trace of an answer if it is valid; other users of a shared store may have stored something else."""
        from trtpipe.metrics.reports import read_report

        trace = self.store.trace(action.key)
        try:
            answer = object_in(trace.summary, "answer") if trace is not None else {}
            if trace is not None and file == EVALUATION_FILE:
                read_report(answer)
            elif trace is not None:
                _units_in(answer)
        except Malformed:
            return None
        return trace

    def _perform(self, file: str, action: Action, scratch: Path, control: Control) -> ActionResult:
        if self._child is None:
            self._child = self._start()
        answer = self._child.ask(action.fingerprint.options, control)
        self.ran += file == EVALUATION_FILE
        return _result(answer, scratch / file)

    def _start(self) -> EvaluatorProcess:
        folder = self.scratch / "evaluator"
        (folder / "out").mkdir(parents=True)
        options = self.action.fingerprint.options
        task = Task("evaluate", options, self.inputs(), folder / "out", self.local)
        return EvaluatorProcess(task, folder)


def evaluations_of(performer: Performer, action: Action, scratch: Path, control: Control) -> Evaluations:
    """Evaluations of what a search action is about, on the performer's fleet if it has one."""

    def inputs() -> Mapping[str, Mapping[str, Path]]:
        return performer.inputs_of(action, scratch / "in")

    fleet, anew = performer.terms.fleet, performer.terms.evaluate_anew
    elsewhere = fleet.evaluating(performer, action, control) if fleet is not None else None
    return Evaluations(
        action, performer.store, scratch, control, inputs, performer.local_of(action), anew, elsewhere
    )


def evaluate_alone(performer: Performer, action: Action, scratch: Path, control: Control) -> ActionResult:
    """One evaluation for a search on another machine, by a process that may be left from the one before.

    Raises StepFailed (a crash included), Interrupted, or what evaluating raised.
    """

    def make() -> EvaluatorProcess:
        with ExitStack() as stack:
            folder = stack.enter_context(performer.store.scratch())
            process = EvaluatorProcess(performer.task(action, folder), folder)
            process.stack.callback(stack.pop_all().close)
            return process
        raise AssertionError("nothing there is suppressed")

    evaluators = performer.terms.evaluators or Evaluators()
    with evaluators.lent(_subject_of(action), make) as process:
        options = action.fingerprint.options
        file = UNITS_FILE if "units" in options else EVALUATION_FILE
        return _result(process.ask(options, control), scratch / file)


def _subject_of(action: Action) -> str:
    """What all evaluations of a search have in common: everything but the choice and how it is measured."""
    print_ = action.fingerprint
    inputs = {slot: {name: str(one) for name, one in files.items()} for slot, files in print_.inputs.items()}
    return key_of({"tools": dict(print_.tools), "inputs": inputs})


def _result(answer: Mapping[str, Any], path: Path) -> ActionResult:
    path.write_text(json.dumps(answer, sort_keys=True, indent=1) + "\n")
    return ActionResult({path.name: path}, {"answer": answer})


def _units_in(answer: JsonObject) -> tuple[Unit, ...]:
    """Raises Malformed."""
    return tuple(Unit.from_json(one) for one in objects_in(answer, "units"))
