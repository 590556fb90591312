"""An in-memory world for the scheduler: stages are functions of bytes, the store is a dict, nothing is slow.

Steps are called by a name alone here: it stands for the import step of a pipeline of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.digests import Digest, digest_bytes
from trtpipe.errors import Interrupted, StepFailed
from trtpipe.plan.address import Address, address
from trtpipe.plan.decisions import Decision
from trtpipe.plan.events import Event
from trtpipe.plan.graph import Action, FromStep, Outputs, Plan, Source, Step, plan_of
from trtpipe.plan.options.stage_options import UNPLACED, StageOptions
from trtpipe.plan.ports import Performed
from trtpipe.plan.rebuilder import Decided, Past, Rebuilder, decide_all
from trtpipe.plan.scheduler import Done, Result, Scheduler
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code

Compute = Callable[[Mapping[str, bytes]], bytes]


def at(name: str) -> Address:
    """The address of a step that is called by its name."""
    return address("import", name)


def decisions(plan: Plan, rebuilder: Rebuilder) -> dict[str, Decision]:
    """What is decided of each step, by its name."""
    return {one.pipeline: decision for one, decision in decide_all(plan, rebuilder).decisions.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOptions(StageOptions):
    """Options of a stage that there is not: whatever a test gives a step."""

    values: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """The values as they are."""
        return dict(self.values)


def step(name: str, *needs: str, source: bytes | None = None, **options: Any) -> Step:
    """A step with one output, `out`, that takes the outputs of others and perhaps a source."""
    inputs: dict[str, tuple[Any, ...]] = {}
    for need in needs:
        inputs[need] = (FromStep(at(need), ("out",)),)
    if source is not None:
        inputs["source"] = (Source("source", Path("/nowhere"), digest_bytes(source)),)
    return Step(at(name), AnyOptions(values=options, origins=UNPLACED), {}, inputs)  # type: ignore[arg-type]


def plan(*steps: Step) -> Plan:
    """A plan of these steps, without cells."""
    return plan_of({one.address: one for one in steps}, ())


@dataclass
class World:
    """Sources, artifacts, traces, and a log of what ran."""

    bytes_of: dict[Digest, bytes] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)

    def source(self, data: bytes) -> bytes:
        self.bytes_of[digest_bytes(data)] = data
        return data

    def past(self) -> Past:
        def outputs_of(_: Address, key: str) -> Mapping[str, Digest] | None:
            return self.traces[key].outputs if key in self.traces else None

        def last_record(address: Address) -> Mapping[str, Any] | None:
            key = self.last.get(address.pipeline)
            return self.traces[key].fingerprint if key in self.traces else None

        return Past(outputs_of, last_record, lambda digest: digest in self.bytes_of)

    def rebuilder(self, forced: Collection[str] = ()) -> Rebuilder:
        return Rebuilder(self.past(), frozenset(map(at, forced)))

    def has(self, outputs: Outputs) -> bool:
        return all(digest in self.bytes_of for digest in outputs.values())

    def submit(self, action: Action, *, anew: bool = False) -> Future[Performed]:
        future: Future[Performed] = Future()
        future.set_running_or_notify_cancel()
        self.ran.append(action.address.pipeline)
        if action.address.pipeline in self.failing:
            future.set_exception(StepFailed(Code.STEP_CRASHED, f"{action.address} went wrong"))
            return future
        output = compute(action, self.bytes_of)
        digest = digest_bytes(output)
        self.bytes_of[digest] = output
        trace = Trace(action.key, str(action.address), action.fingerprint.record(), {"out": digest})
        self.traces[action.key] = trace
        self.last[action.address.pipeline] = action.key
        future.set_result(Performed(trace))
        return future

    def cancel(self, *, now: bool = False) -> None:
        pass

    def close(self) -> None:
        pass

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def build(
        self, plan: Plan, rebuilder: Rebuilder | None = None, decided: Decided | None = None, **options: Any
    ) -> dict[str, Result]:
        """Bring the plan up to date; what ran in this build is in `ran`. Step → what became of it last."""
        self.ran = []
        decided = decided or decide_all(plan, rebuilder or self.rebuilder())
        results: dict[str, Result] = {}
        for one, result in Scheduler(plan, decided.rebuilder, self, self, **options).run():
            results[one.pipeline] = result
            self.hear(one, result)
        if options.get("interrupted", lambda: 0)():
            raise Interrupted(Code.INTERRUPTED, "interrupted")
        return results

    def hear(self, address: Address, result: Result) -> None:
        """Called with what became of each step, as it comes."""

    def output(self, result: Result) -> bytes:
        assert isinstance(result, Done)
        return self.bytes_of[result.outputs["out"]]


def compute(action: Action, bytes_of: Mapping[Digest, bytes]) -> bytes:
    """A function of the inputs' bytes and the options; `keep` cuts it short, so that changes can vanish."""
    parts = [bytes_of[d] for files in action.fingerprint.inputs.values() for d in files.values()]
    text = b"+".join(parts) + str(sorted(action.fingerprint.options.items())).encode()
    keep = action.fingerprint.options.get("keep")
    return text if keep is None else text[: int(keep)]
