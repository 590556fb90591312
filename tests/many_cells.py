"""A project of any number of cells whose results are in its store already, so that only trtpipe's own work is left.

One cell is really built; every other step gets a trace with that cell's outputs. Each spec has a profile of its own and
each target a set of GPUs, so that all engines have different keys.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from trtpipe.building.planned import make_plan
from trtpipe.plan.decisions import Run
from trtpipe.plan.graph import Action, action_of
from trtpipe.plan.trace import Trace
from trtpipe.stores.local import LocalStore
from trtpipe.stores.traces import written_trace
from trtpipe.workspace.workspace import open_workspace

MODEL = Path(__file__).resolve().parents[1] / "pipelines" / "models" / "digits_cnn.onnx"
GPUS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
SETS = tuple(one for size in (1, 2, 3, 4, 5) for one in combinations(GPUS, size))
MOST = 50
"""How many targets a spec has at most; the sets of GPUs behind these are for changes."""
STORE = ".trtpipe/store"
"""What TRTPIPE_STORE is: in each project, so that nothing is left in the user's own."""


def spec(number: int, targets: Mapping[str, tuple[str, ...]]) -> str:
    """The spec of a pipeline with these targets."""
    most = number + 1
    lines = [
        "schema: 1",
        f"pipeline: digits{number}",
        "model: {source: models/digits.onnx}",
        "variants: {fp16: {precision: fp16}}",
        "profiles:",
        f"  - image: {{min: 1x1x8x8, opt: {most}x1x8x8, max: {2 * most}x1x8x8}}",
        "targets:",
        *(f"  {name}: {{gpu: [{', '.join(gpus)}]}}" for name, gpus in targets.items()),
    ]
    return "\n".join(lines) + "\n"


def targets_of(count: int) -> dict[str, tuple[str, ...]]:
    """So many targets, each with a set of GPUs of its own."""
    return {f"t{number}": SETS[number] for number in range(count)}


@dataclass
class ManyCells:
    """The project in `root`; its store must be its own."""

    root: Path
    cells: int
    each: int = MOST
    """How many cells a spec has."""
    traces: dict[str, Trace] = field(default_factory=dict)
    """Stage -> the trace of the cell that was really built."""

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.root / STORE)

    @property
    def specs(self) -> list[Path]:
        return sorted((self.root / "pipelines").glob("*.yaml"))

    def write(self) -> None:
        """The specs and their model."""
        (self.root / "models").mkdir(parents=True)
        (self.root / "pipelines").mkdir()
        shutil.copy(MODEL, self.root / "models" / "digits.onnx")
        for number in range(-(-self.cells // self.each)):
            count = min(self.each, self.cells - number * self.each)
            self.spec_file(number).write_text(spec(number, targets_of(count)))

    def spec_file(self, number: int) -> Path:
        return self.root / "pipelines" / f"digits{number:04}.yaml"

    def change(self, *numbers: int) -> None:
        """Another set of GPUs, and so another engine, for the first target of each of these specs."""
        for number in numbers:
            path = self.spec_file(number)
            lines = path.read_text().splitlines()
            at = lines.index("targets:") + 1
            now = int(lines[at].count("#"))
            lines[at] = f"  t0: {{gpu: [{', '.join(SETS[MOST + now])}]}}  " + "#" * (now + 1)
            path.write_text("\n".join(lines) + "\n")

    def invent(self) -> int:
        """A trace for every step that would run, as if it had yielded what the real cell's did; how many there were."""
        known = {step.stage: one for step, one in self._real()}
        invented = 0
        while True:
            planned = make_plan(open_workspace([], (), self.root))
            outputs = {
                address: one.outputs for address, one in planned.decisions.items() if hasattr(one, "outputs")
            }
            due = [address for address, one in planned.decisions.items() if isinstance(one, Run)]
            for address in due:
                self.record(action_of(planned.plan.steps[address], outputs), known[address.stage])
            if not due:
                return invented
            invented += len(due)

    def record(self, action: Action, like: Trace) -> None:
        """The trace of an action, with another one's results. Not flushed: there are many."""
        trace = replace(
            like,
            key=action.key,
            address=str(action.address),
            fingerprint=action.fingerprint.record(),
            outputs=dict(like.outputs),
        )
        path = self.store.trace_path(action.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written_trace(trace))

    def _real(self) -> list[tuple[Action, Trace]]:
        planned = make_plan(open_workspace([], ("digits0/*@t0",), self.root))
        actions = planned.actions().values()
        found = [(action, self.store.trace(action.key)) for action in actions]
        return [(action, trace) for action, trace in found if trace is not None]
