"""End-to-end validation of a bundle on the CPU: the typed models as a whole, against the reference as a whole.

The reference is the members' canonical models, or recorded outputs. Which member's precision costs most is found by
running the whole again with each member in turn at its reference precision. Measures and reports; thresholds are
applied elsewhere. One batch is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.datasets.locations import GivenFiles
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.errors import Problem, SpecError, StepFailed
from trtpipe.files import write_whole
from trtpipe.metrics.metrics import Accumulator
from trtpipe.plan.options import BundleOptions
from trtpipe.plan.task import GOLDEN, Task
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import shapes_at
from trtpipe.runners.bundles.driver import open_driver
from trtpipe.runners.bundles.members import CpuRunner, InOrder, Member, Run, changes_of
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import NoKernel, half_is_rounded, open_runner
from trtpipe.runners.cpu.twins import twins_in
from trtpipe.runners.validation.recordings import RecordedRun, Recorder, write_recording
from trtpipe.runners.validation.references import read_golden
from trtpipe.runners.validation.requests import profile_of
from trtpipe.shapes import format_shape
from trtpipe.spec.dataset import DatasetSpec

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json, JsonObject

SCHEMA = 1
TYPED, REFERENCE = "typed", "reference"

Feed = Mapping[str, "Array"]


def slot(kind: str, member: str) -> str:
    """The slot of a task that holds a member's model."""
    return f"{kind}.{member}"


def run_whole(task: Task, out: Path) -> dict[str, Json]:
    """Run a bundle's validation and write its report to `out`. Raises ModelError, SpecError or StepFailed."""
    options = BundleOptions.from_record(task.options)
    with ExitStack() as stack:
        try:
            whole = _Whole(options, task, stack)
            whole.measure()
            report = whole.report()
        except NoKernel as error:
            report = _not_measured(error.problems[0].fact)
        else:
            if whole.recorder.runs and "golden" not in task.inputs:
                write_recording(out.with_name(GOLDEN), whole.recorder.runs)
    encoded = json.dumps(report, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out, (encoded + "\n").encode())
    return report


def _not_measured(why: str) -> dict[str, Json]:
    return {
        **_about("canonical"),
        "places": [],
        "not_run": [{"name": "the whole on the CPU", "why": why}],
        "blame": [],
    }


def _about(reference: str) -> dict[str, Json]:
    return {
        "schema": SCHEMA,
        "reference": reference,
        "onnxruntime": onnxruntime.__version__,
        "half_is_rounded": half_is_rounded(),
    }


@dataclass
class Compared:
    """The outputs of one way to run the whole, compared with the reference."""

    outputs: dict[str, Accumulator] = field(default_factory=dict)

    def add(self, expected: Feed, actual: Feed, labels: Array | None) -> None:
        """Compare one batch. Raises StepFailed when an output is missing or has another shape."""
        for name, array in expected.items():
            if name not in actual or np.shape(actual[name]) != np.shape(array):
                found = format_shape(np.shape(actual[name])) if name in actual else "missing"
                fact = (
                    f"output {name!r} is {found} instead of the reference's {format_shape(np.shape(array))}"
                )
                raise StepFailed(Code.OUTPUT_DIFFERS, fact)
            self.outputs.setdefault(name, Accumulator()).add(array, actual[name], labels)

    def as_json(self) -> dict[str, Json]:
        """Output → its metrics."""
        return {name: one.result().as_json() for name, one in self.outputs.items()}


class _Whole:
    """A bundle's validation in progress."""

    def __init__(self, options: BundleOptions, task: Task, stack: ExitStack) -> None:
        self.options, self.task, self.stack = options, task, stack
        self.threads = task.local.get("threads", 0)
        self.models = {name: runnable_model(task.input(slot(TYPED, name))) for name in options.members}
        self.typed = {name: self._member(name, model) for name, model in self.models.items()}
        self.references = {name: self._reference(name) for name in options.members}
        self.run = self._run()
        self.whole = Compared()
        self.without = {name: Compared() for name in options.members}
        self.recorder = Recorder()
        self.samples: int | None = None

    def _member(self, name: str, model: RunnableModel) -> Member:
        runner = self.stack.enter_context(open_runner(model, threads=self.threads))
        wanted = changes_of(name, self.options.edges)
        joined = {one for one in wanted if f"{name}.{one}" in self.options.joined}
        return Member(
            name, CpuRunner(runner), {one: edge for one, edge in wanted.items() if one not in joined}
        )

    def _reference(self, name: str) -> Member:
        model = runnable_model(self.task.input(slot(REFERENCE, name)))
        runner = self.stack.enter_context(open_runner(model, threads=self.threads))
        return Member(name, CpuRunner(runner), changes_of(name, self.options.edges))

    def _run(self) -> Run:
        driver = self.options.driver
        if driver is None:
            return InOrder(self.options.members, self.options.edges, self.options.outputs)
        given = (path for name in ("data", "golden") for path in self.task.inputs.get(name, {}).values())
        return self.stack.enter_context(open_driver(driver, self.task.inputs["code"], given))

    def measure(self) -> None:
        """Run everything that there is data for."""
        for feed, expected, labels in self._cases():
            self.whole.add(expected, self.run(self.typed, feed), labels)
            for name, measured in self.without.items():
                members = {**self.typed, name: self.references[name]}
                measured.add(expected, self.run(members, feed), labels)

    def _cases(self) -> Iterator[tuple[Feed, Feed, Array | None]]:
        """Free inputs with the outputs that the whole should have, and labels if there are any."""
        free = self._free_inputs()
        if "golden" in self.task.inputs:
            for run in read_golden(self.task.input("golden"), list(free)):
                yield run.inputs, run.outputs, run.labels
            return
        spec, names = self._data(free)
        infos = [TensorInfo(names[name], info.dtype, info.dims) for name, info in free.items()]
        files = GivenFiles(self.task.inputs.get("data", {}))
        with open_dataset(spec, files, infos, samples=self.options.samples) as data:
            for given, labels in data:
                feed = {name: given[called] for name, called in names.items()}
                expected = self.run(self.references, feed)
                run = RecordedRun(feed, expected, labels=labels)
                self.recorder.add(run, run.samples)
                yield feed, expected, labels
            self.samples = data.samples

    def _free_inputs(self) -> dict[str, TensorInfo]:
        """The inputs that no edge feeds, as the reference has them: `member.input`."""
        fed = {edge.to for edge in self.options.edges}
        found: dict[str, TensorInfo] = {}
        for name in self.options.members:
            model = runnable_model(self.task.input(slot(REFERENCE, name)))
            found |= {f"{name}.{info.name}": info for info in summarize(model.proto).inputs}
        return {name: info for name, info in found.items() if name not in fed}

    def _data(self, free: Mapping[str, TensorInfo]) -> tuple[DatasetSpec, Mapping[str, str]]:
        """The data set, and each free input's name in it."""
        record = self.options.data
        assert record is not None, "the spec has data, random inputs or a recording"
        if "spec" not in record:
            return self._random(free, record), {name: name for name in free}
        spec = DatasetSpec.model_validate_json(json.dumps(record["spec"]))
        return spec, names_in(spec.inputs, free)

    def _random(self, free: Mapping[str, TensorInfo], record: JsonObject) -> DatasetSpec:
        drawn = record["random"]
        assert isinstance(drawn, Mapping)
        shapes = {name: self._shape(name, info) for name, info in free.items()}
        asked = {"schema": 1, "random": {"shapes": shapes}, **drawn}
        return DatasetSpec.model_validate_json(json.dumps(asked))

    def _shape(self, name: str, info: TensorInfo) -> list[int]:
        member, _, plain = name.partition(".")
        profile = profile_of(self.options.profiles.get(member, {}))
        known = shapes_at([TensorInfo(plain, info.dtype, info.dims)], profile, "opt").get(plain)
        return list(known or (dim if isinstance(dim, int) else 1 for dim in info.dims or ()))

    def report(self) -> dict[str, Json]:
        """Everything measured, as plain data."""
        recorded = "golden" in self.task.inputs
        place = "golden" if recorded else "data"
        measured: dict[str, Json] = {
            "place": place, "kind": place, "samples": self.samples, "outputs": self.whole.as_json(),
        }  # fmt: skip
        twins = {kind: why for model in self.models.values() for kind, why in twins_in(model).items()}
        return {
            **_about("golden" if recorded else "canonical"),
            "twins": dict(twins),
            "places": [measured],
            "recorded": self.recorder.samples,
            "nonfinite": [],
            "not_run": [],
            "blame": blame(self.whole, self.without),
        }


def names_in(known: Iterable[str], free: Iterable[str]) -> dict[str, str]:
    """Free input → its name in a data set that declares the inputs `known`.

    A set may use the input's own name where one member only has a free input of that name: so the set of a single
    pipeline serves a bundle too. Raises SpecError when a name means several inputs.
    """
    known, free = set(known), list(free)
    plain = [name.partition(".")[2] for name in free]
    found: dict[str, str] = {}
    for name, short in zip(free, plain, strict=True):
        if name in known or (known and short not in known):
            found[name] = name
        elif plain.count(short) > 1:
            fact = f"the data set has {short!r}, which is a free input of several members"
            raise SpecError(Problem(Code.AMBIGUOUS_NAME, fact, path=("inputs", short)))
        else:
            found[name] = short
    return found


def blame(whole: Compared, without: Mapping[str, Compared]) -> list[Json]:
    """What each member's precision costs, output by output: the error with all members typed, and with this one at its
    reference precision. Errors are root mean squares, as shares of the output's largest value.
    """
    return [
        {
            "member": member,
            "outputs": {
                name: {"error": _error(one), "without": _error(measured.outputs[name])}
                for name, one in whole.outputs.items()
            },
        }
        for member, measured in without.items()
    ]


def _error(one: Accumulator) -> float:
    found = one.result()
    rmse = found.values.get("rmse") or 0.0
    return float(rmse / found.largest) if found.largest else float(rmse)
