"""The readback step: compares a typed model with the network that TensorRT's parser made of it, on the validation data.

Both run in ONNX Runtime on the same inputs: the data or the recorded inputs, then every corner of every profile. The
typed model's outputs are taken from its validation as far as they were kept. If an output differs by more than the
plain bound, the typed model is run again with random rounding errors (`nudges`), and the effect on the output is
accepted as rounding. If activations are quantized, the network reads the typed model's dequantized tensors
(`forced_types`), so the typed model is run to get these. This module measures and reports; whether the result is good
enough is decided elsewhere. Whatever could not be run is listed by name with its reason.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.errors import ModelError, StepFailed, TrtpipeError
from trtpipe.files import write_whole
from trtpipe.metrics.growth import GROWTH
from trtpipe.metrics.metrics import Accumulator
from trtpipe.plan.options import ReadbackOptions
from trtpipe.proofs.corners import values_at
from trtpipe.runners.comparison.forced_types import (
    Flips,
    Quantized,
    forced,
    own_name,
    quantized_in,
)
from trtpipe.runners.comparison.readback import LEAST, TensorDifference, bound_of, first_departing
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import OnnxRuntimeRunner, open_runner
from trtpipe.runners.cpu.twins import twins_in
from trtpipe.runners.rounding.nudges import nudged
from trtpipe.runners.validation.corner_inputs import CornerInputs, gather_rows
from trtpipe.runners.validation.inputs_before import inputs_before
from trtpipe.runners.validation.references import read_golden
from trtpipe.runners.validation.requests import (
    ValidationRequest,
    corners_of,
    dataset_of,
    feed_at,
    request_with,
    rows_at,
    too_much,
    value_inputs,
)
from trtpipe.runners.validation.typed_outputs import KeptOutputs, open_outputs

if TYPE_CHECKING:
    from typing import TypeAlias

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json, JsonObject
    from trtpipe.plan.task import Task

    Feed: TypeAlias = Mapping[str, Array]
    Feeds: TypeAlias = Callable[[], Iterable[Feed]]

SCHEMA = 1
_DATA, _RECORDED = "data", "golden"
_SEEDS = (0, 1)
"""Seeds of the random errors that show the effect of rounding."""


def run_readback(task: Task, out: Path) -> dict[str, Json]:
    """Runs a readback task and writes the report to `out`; the report with `seconds` added.

    Raises ModelError, SpecError (the data set) or StepFailed.
    """
    started = time.monotonic()
    options = ReadbackOptions.from_record(task.options)
    network, golden = task.input("network"), options.recorded
    request = request_with(task, task.input("golden") if golden else network, golden=golden)
    joint = Joint(options.graft, task.input("plain")) if options.graft is not None else None
    report = read_back(request, network, None if joint else task.input("outputs"), joint)
    encoded = json.dumps(report, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out, (encoded + "\n").encode())
    return {**report, "seconds": round(time.monotonic() - started, 3)}


@dataclass(frozen=True)
class Joint:
    """Says that the typed model has layers in front of it which the data do not know."""

    graft: JsonObject
    plain: Path
    """The typed model without them."""


def read_back(
    request: ValidationRequest, network: Path, outputs: Path | None, joint: Joint | None = None
) -> dict[str, Json]:
    """The measurements: `network` is the lowered network, `outputs` are those that the validation stored."""
    typed, lowered = runnable_model(request.typed), runnable_model(network)
    known = lowered.outputs()
    names = [name for name in typed.outputs() if name in known]
    with ExitStack() as stack:
        kept = stack.enter_context(open_outputs(outputs)) if outputs is not None else None
        held = {one.tensor: one for one in quantized_in(typed, lowered)}
        expected = _Expected(typed, kept, tuple(names), tuple(held), request.threads, stack)
        types = _types_of(typed, held)
        whole = forced(lowered, types)
        bound = bound_of(typed, held)
        run = _Run(request, summarize(typed.proto).inputs, typed, whole, held, types, expected, bound, joint)
        for name in typed.outputs():
            if name not in known:
                run.skip(f"output '{name}'", "the network was not read as far as this output")
        if names:
            own = [own_name(one) for one in held]
            run.measure(whole.only_outputs([*names, *own]), stack)
    return run.report()


def _types_of(typed: RunnableModel, tensors: Iterable[str]) -> dict[str, str]:
    """The element types of tensors when the model runs: types that the CPU has no kernels for are float32 there."""
    narrow = {name: typed.values[name].dtype for name in tensors}
    return {name: "float16" if dtype == "float16" else "float32" for name, dtype in narrow.items()}


class _NetworkFails(Exception):
    """ONNX Runtime cannot run the lowered network."""


@contextmanager
def _of_the_network() -> Iterator[None]:
    try:
        yield
    except TrtpipeError as error:
        raise _NetworkFails(error.problems[0].fact) from error


@dataclass
class _Expected:
    """The typed model's outputs: the stored ones, else computed by running the model."""

    typed: RunnableModel
    kept: KeptOutputs | None
    """None when the validation ran another model than this one."""
    names: tuple[str, ...]
    inner: tuple[str, ...]
    """Inner tensors that are requested as well."""
    threads: int
    stack: ExitStack
    _runner: OnnxRuntimeRunner | None = None

    def outputs(self, place: str, number: int, feed: Feed) -> Feed:
        """The outputs of a batch, and the inner tensors. Raises ModelError or StepFailed."""
        known = self.kept if not self.inner else None
        found = known.batch(place, number, self.names) if known is not None else None
        if found is not None:
            return found
        if self._runner is None:
            opened = open_runner(self.typed.only_outputs([*self.names, *self.inner]), threads=self.threads)
            self._runner = self.stack.enter_context(opened)
        return self._runner.infer(_fed(feed, self._runner.inputs))


@dataclass
class _Measured:
    """One output at one place."""

    difference: TensorDifference
    metrics: Accumulator = field(default_factory=Accumulator)

    def add(self, expected: Array, actual: Array) -> None:
        self.difference.add(expected, actual)
        if not self.difference.misfit:
            self.metrics.add(expected, actual, None)

    def to_json(self) -> dict[str, Json]:
        found = self.difference.to_json()
        return {**found, "metrics": None if found["misfit"] else self.metrics.result().as_json()}


@dataclass
class _AtPlace:
    """The measurements at one place."""

    outputs: dict[str, _Measured]
    flips: dict[str, Flips]
    samples: int = 0
    departed: Feed | None = None
    """The first inputs for which an output differs by more than rounding."""

    @property
    def departs(self) -> bool:
        return any(one.difference.departs for one in self.outputs.values())

    def add(self, given: Feed, expected: Feed, actual: Feed) -> None:
        """Adds a batch."""
        for name, one in self.outputs.items():
            one.add(expected[name], actual[name])
        for name, flip in self.flips.items():
            flip.add(expected[name], actual[own_name(name)])
        if self.departed is None and self.departs:
            self.departed = given
        counted = [
            np.shape(array)[0] for name, array in given.items() if np.ndim(array) and name not in self.flips
        ]
        self.samples += max(counted, default=1)

    def widen(self, noise: Mapping[str, float]) -> None:
        """Widens the bounds so that differences of these sizes are accepted."""
        for name, size in noise.items():
            difference = self.outputs[name].difference
            if math.isfinite(size):
                difference.bound = max(difference.bound, size)

    def to_json(self) -> dict[str, Json]:
        outputs: dict[str, Json] = {name: one.to_json() for name, one in self.outputs.items()}
        quantized: list[Json] = [one.to_json() for one in self.flips.values()]
        return {"samples": self.samples, "outputs": outputs, "quantized": quantized}


@dataclass
class _Run:
    """One readback in progress."""

    request: ValidationRequest
    inputs: Sequence[TensorInfo]
    typed: RunnableModel
    whole: RunnableModel
    """The network, with all its tensors."""
    held: Mapping[str, Quantized]
    """The tensors for which it reads the typed model's values."""
    types: Mapping[str, str]
    """Their element types."""
    expected: _Expected
    bound: float
    joint: Joint | None = None
    places: list[dict[str, Json]] = field(default_factory=list)
    not_run: list[dict[str, Json]] = field(default_factory=list)
    departed: Feed | None = None
    """The first inputs for which an output differs by more than rounding."""
    first: TensorDifference | None = None
    """The first tensor that differs for them; all before it agree."""

    def report(self) -> dict[str, Json]:
        """Everything measured, as plain data."""
        return {
            "schema": SCHEMA,
            "onnxruntime": onnxruntime.__version__,
            "bound": self.bound,
            "outputs": self.typed.outputs(),
            "twins": dict(twins_in(self.typed)),
            "places": self.places,
            "first": self._first(),
            "not_run": self.not_run,
        }

    def _first(self) -> dict[str, Json] | None:
        if self.first is None:
            return None
        ops = {name: node.op_type for node in self.typed.proto.graph.node for name in node.output}
        return {**self.first.to_json(), "op": ops.get(self.first.tensor, "")}

    def skip(self, name: str, why: str) -> None:
        """Record what was not run."""
        self.not_run.append({"name": name, "why": why})

    def measure(self, network: RunnableModel, stack: ExitStack) -> None:
        """Everything that the request asks for."""
        try:
            with _of_the_network():
                exact = self.bound <= LEAST and not self.held
                opened = open_runner(network, threads=self.request.threads, fused=exact)
                runner = stack.enter_context(opened)
        except _NetworkFails as error:
            self.skip("the network", f"ONNX Runtime does not take it: {error}")
            return
        samples = self._recorded(runner) if self.request.golden else self._data(runner)
        for corner in corners_of(self.request, self.inputs):
            self._corner(runner, corner, samples)
        if self.departed is not None:
            feeds = [self.departed]
            self.first = first_departing(self.typed, self.whole, self.bound, feeds, self.request.threads)

    def _recorded(self, runner: OnnxRuntimeRunner) -> Feed:
        """Compares on the recorded inputs; returns those that corners are made of."""
        runs = read_golden(self.request.reference, [info.name for info in self.inputs])
        feeds = [self._before(run.inputs) for run in runs]
        self._place(runner, _RECORDED, _RECORDED, lambda: feeds)
        rows = rows_at(corners_of(self.request, self.inputs))
        return gather_rows(((feed, None) for feed in feeds), rows)

    def _before(self, inputs: Feed) -> Feed:
        """Inputs of the data as the typed model takes them."""
        return inputs if self.joint is None else inputs_before(self.joint.graft, inputs)

    def _infos(self) -> Sequence[TensorInfo]:
        """The inputs as the data have them; random ones are made for the typed model itself."""
        if self.joint is None or self.request.random is not None:
            return self.inputs
        return summarize(runnable_model(self.joint.plain).proto).inputs

    def _data(self, runner: OnnxRuntimeRunner) -> Feed:
        """Compares on the data set's samples, fed as in validation; returns the samples that corners are made of."""
        spec = dataset_of(self.request, self.inputs, self.typed)
        assert spec is not None, "the plan has no readback without data"
        profiles = self.request.profiles
        values = values_at(profiles[0], "opt") if self.request.random and profiles else {}
        dtypes = self.expected.kept.dtypes if self.expected.kept is not None else {}
        fed = [
            replace(info, dtype=dtypes.get(info.name, info.dtype))
            for info in self._infos()
            if info.name not in values
        ]
        given = value_inputs(self.inputs, values)
        corners = corners_of(self.request, self.inputs)
        changed = self._before if self.request.random is None else dict
        with open_dataset(spec, self.request.resolve, fed, samples=self.request.samples) as data:
            self._place(runner, _DATA, _DATA, lambda: ({**changed(inputs), **given} for inputs, _ in data))
            rows = ((changed(inputs), labels) for inputs, labels in data)
            return gather_rows(rows, rows_at(corners)) if corners else {}

    def _corner(self, runner: OnnxRuntimeRunner, corner: CornerInputs, samples: Feed) -> None:
        reason = too_much(self.typed, self.inputs, corner, self.request.memory_limit)
        if reason:
            self.skip(corner.place, reason)
            return
        feed = feed_at(corner, self.inputs, samples)
        self._place(runner, corner.place, "corner", lambda: [feed])

    def _place(self, runner: OnnxRuntimeRunner, place: str, kind: str, feeds: Feeds) -> None:
        """Measure one place; if one of the two models cannot be run there, returns the reason."""
        found = _AtPlace(
            {name: _Measured(difference) for name, difference in self._differences().items()},
            {name: Flips(one, self.bound) for name, one in self.held.items()},
        )
        try:
            for number, feed in enumerate(feeds()):
                expected = self._wanted(place, number, feed)
                given = {**feed, **{name: expected[name] for name in self.held}}
                with _of_the_network():
                    actual = runner.infer(_fed(given, runner.inputs))
                found.add(given, expected, actual)
            if found.departed is not None:
                self._allow_for_rounding(place, feeds, found)
        except _NetworkFails as error:
            self.skip(place, f"ONNX Runtime cannot run the network there: {error}")
            return
        except _TypedFails as error:
            self.skip(place, f"the typed model does not run there: {error}")
            return
        if self.departed is None and found.departs:
            self.departed = found.departed
        self.places.append({"place": place, "kind": kind, **found.to_json()})

    def _allow_for_rounding(self, place: str, feeds: Feeds, found: _AtPlace) -> None:
        """Widens the bounds of differing outputs if random rounding errors change the typed model's outputs as much."""
        held = forced(self.typed, self.types) if self.held else self.typed
        for seed in _SEEDS:
            noise = self._differences()
            try:
                opened = open_runner(
                    nudged(held, seed).only_outputs(self.expected.names), threads=self.request.threads
                )
                with opened as runner:
                    for number, feed in enumerate(feeds()):
                        expected = self._wanted(place, number, feed)
                        given = {**feed, **{name: expected[name] for name in self.held}}
                        actual = runner.infer(_fed(given, runner.inputs))
                        for name, one in noise.items():
                            one.add(expected[name], actual[name])
            except (ModelError, StepFailed):  # no kernel for a type: then the bound stands
                return
            found.widen({name: GROWTH * one.error for name, one in noise.items()})

    def _wanted(self, place: str, number: int, feed: Feed) -> Feed:
        try:
            return self.expected.outputs(place, number, feed)
        except (ModelError, StepFailed) as error:
            raise _TypedFails(error.problems[0].fact) from error

    def _differences(self) -> dict[str, TensorDifference]:
        makers: dict[str, str] = {
            name: node.name or node.op_type for node in self.typed.proto.graph.node for name in node.output
        }
        return {name: TensorDifference(name, makers.get(name), self.bound) for name in self.expected.names}


class _TypedFails(Exception):
    """The typed model cannot be run on some inputs."""


def _fed(feed: Feed, inputs: Mapping[str, str]) -> dict[str, Array]:
    return {name: feed[name] for name in inputs if name in feed}
