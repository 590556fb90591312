"""Validation on the CPU: the typed model against its reference, on the declared data and at every profile corner.

Measures and reports; whether that is good enough is decided elsewhere, so that changing a threshold runs nothing again.
One batch is in memory at a time, with the reference's outputs and then the typed model's. Whatever could not be run is
listed by name with its reason. The report contains nothing that differs from run to run; times are kept separately.

Other files hold the first samples with the reference's outputs, for a machine that only runs the engine; the sample
with the largest error of each place, for diagnosis; and the typed model's outputs, for the readback.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnxruntime

from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.datasets import runs_code
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.errors import ModelError, Problem, SpecError, StepFailed, TrtpipeError
from trtpipe.files import write_whole
from trtpipe.json_values import object_in, objects_in
from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.spread import Spread
from trtpipe.plan.task import GOLDEN, WORST, Task
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import values_at
from trtpipe.proofs.randomness import drawn_outputs
from trtpipe.proofs.samples import prove_samples
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import NoKernel, OnnxRuntimeRunner, half_is_rounded, open_runner
from trtpipe.runners.cpu.twins import twins_in
from trtpipe.runners.validation.corner_inputs import CornerInputs, gather_rows, impossible_at
from trtpipe.runners.validation.nonfinite import Watch, open_watch
from trtpipe.runners.validation.recordings import RecordedRun, Recorder, Worst, write_recording
from trtpipe.runners.validation.references import SourceReference, open_source, read_golden
from trtpipe.runners.validation.requests import (
    ValidationRequest,
    as_in_source,
    corners_of,
    dataset_of,
    feed_at,
    request_of,
    rows_at,
    takes_one_sample,
    too_much,
    value_inputs,
)
from trtpipe.runners.validation.typed_outputs import TYPED_OUTPUTS, OutputsWriter, writing_outputs
from trtpipe.shapes import format_shape
from trtpipe.spec.dataset import DatasetSpec

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.datasets.samples.batches import Dataset
    from trtpipe.json_values import Json, JsonObject

SCHEMA = 1

_SPREAD = ("errors", "scatter")

Feed: TypeAlias = "Mapping[str, Array]"


def run_validation(task: Task, out: Path) -> dict[str, Json]:
    """Runs a validation task and writes the report to `out`; the report with `seconds` per place added.

    Raises ModelError, SpecError (the data set) or StepFailed.
    """
    started = time.monotonic()
    with writing_outputs(out.with_name(TYPED_OUTPUTS)) as outputs:
        kept = Kept(outputs)
        report, seconds = validate(request_of(task), kept)
    encoded = json.dumps(report, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out, (encoded + "\n").encode())
    for name, runs in ((GOLDEN, kept.recorder.runs), (WORST, kept.worst.runs())):
        if runs:
            write_recording(out.with_name(name), runs)
    seconds = {**seconds, "all": round(time.monotonic() - started, 3)}
    places = [_without_spread(place) for place in objects_in(report, "places")]
    return {**report, "places": places, "seconds": seconds}


def _without_spread(place: JsonObject) -> dict[str, Json]:
    """A place's results for a trace; the distributions for plots are only in the report."""
    measured = object_in(place, "outputs")
    outputs = {
        name: {key: value for key, value in object_in(measured, name).items() if key not in _SPREAD}
        for name in measured
    }
    return {**place, "outputs": outputs}


@dataclass
class Kept:
    """Samples that are kept beside a report."""

    outputs: OutputsWriter
    """The typed model's outputs for everything that was run."""
    recorder: Recorder = field(default_factory=Recorder)
    worst: Worst = field(default_factory=Worst)


def validate(request: ValidationRequest, kept: Kept) -> tuple[dict[str, Json], dict[str, float]]:
    """The measurements, and the seconds that each place took; samples go to `kept`.

    If ONNX Runtime lacks a kernel for the typed model, or cannot load the source at all (which importing may have
    repaired), nothing is measured and the report says so.
    """
    model = runnable_model(request.typed)
    inputs = summarize(model.proto).inputs
    threads = request.threads
    try:
        with open_runner(model, threads=threads) as runner, open_watch(model, threads=threads) as watch:
            run = Run(request, model, runner, inputs, watch, kept)
            if request.golden:
                run.golden()
            else:
                _against_source(run)
        return run.report(), run.seconds
    except NoKernel as error:
        return _nothing_measured(request, error.problems[0].fact), {}


def _against_source(run: Run) -> None:
    request = run.request
    with ExitStack() as stack:
        try:
            opened = open_source(
                request.reference,
                run.model.outputs(),
                request.bound,
                threads=request.threads,
                reshaped=request.reshaped,
                wide=request.wide,
            )
            reference = stack.enter_context(opened)
        except ModelError as error:
            run.not_run.append({"name": "the reference", "why": error.problems[0].fact})
            return
        run.source(reference)


def _nothing_measured(request: ValidationRequest, why: str) -> dict[str, Json]:
    return {
        **_about(request),
        "places": [],
        "nonfinite": [],
        "not_run": [{"name": "validation on the CPU", "why": why}],
    }


def _about(request: ValidationRequest) -> dict[str, Json]:
    return {
        "schema": SCHEMA,
        "reference": "golden" if request.golden else "float64" if request.wide else "onnxruntime",
        "onnxruntime": onnxruntime.__version__,
        "half_is_rounded": half_is_rounded(),
    }


@dataclass
class Run:
    """One validation in progress."""

    request: ValidationRequest
    model: RunnableModel
    runner: OnnxRuntimeRunner
    inputs: tuple[TensorInfo, ...]
    watch: Watch | None
    kept: Kept | None = None
    """Where samples go; without it none are kept, and the distribution of errors is not recorded."""
    places: list[dict[str, Json]] = field(default_factory=list)
    not_run: list[dict[str, str]] = field(default_factory=list)
    nonfinite: list[dict[str, Json]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    compared: tuple[str, ...] = ()
    """The outputs that do not depend on random numbers; the others are named as not run."""

    def __post_init__(self) -> None:
        drawn = drawn_outputs(self.model.proto)
        self.compared = tuple(name for name in self.runner.outputs if name not in drawn)
        for name, why in drawn.items():
            self._skip(f"output {name}", why)

    def report(self) -> dict[str, Json]:
        """Everything measured, as plain data."""
        recorded = {"recorded": self.kept.recorder.samples} if self.kept is not None else {}
        return {
            **_about(self.request),
            "twins": dict(twins_in(self.model)),
            "places": self.places,
            **recorded,
            "nonfinite": self.nonfinite,
            "not_run": self.not_run,
        }

    def golden(self) -> None:
        """Compares with recorded outputs, on their recorded inputs."""
        runs = read_golden(self.request.reference, [info.name for info in self.inputs])
        measured = self._accumulators(runs[0].outputs)
        with self._timed("golden"):
            for run in runs:
                actual = self.runner.infer(run.inputs)
                self._measure("golden", measured, run.outputs, actual, run.labels)
                self._keep("golden", run.inputs, run.outputs, actual, run.labels)
            shapes = _shapes(runs[0].inputs)
            self._place("golden", "golden", measured, samples=None, shapes=shapes)
        self._lacking([name for name in self.compared if name not in measured], "it was not recorded")
        for run in runs:
            self._locate("golden", run.inputs, None)
        for corner in corners_of(self.request, self.inputs):
            self._skip(corner.place, "recorded outputs are of their own inputs only")

    def source(self, reference: SourceReference) -> None:
        """Compares with the source model, on the data and at the corners."""
        self._lacking(reference.lacking, "the reference has no tensor of this name")
        if reference.not_lifted:
            self._skip("the reference in float64", f"{reference.not_lifted}; float32 was used")
        elif reference.narrow:
            why = "ONNX Runtime's CPU has no such kernels, and float32 was used there"
            self._skip(f"float64 in {', '.join(reference.narrow)} of the reference", why)
        spec = dataset_of(self.request, self.inputs, self.model)
        corners = corners_of(self.request, self.inputs)
        if spec is None:
            for place in ("data", *(corner.place for corner in corners)):
                self._skip(place, "the spec names no data; give validate.data or validate.random")
            return
        profiles = self.request.profiles
        values = values_at(profiles[0], "opt") if self.request.random and profiles else {}
        source = {info.name: info for info in reference.inputs}
        fed = [as_in_source(source.get(info.name), info) for info in self.inputs if info.name not in values]
        if self.kept is not None:
            self.kept.outputs.fed({info.name: info.dtype for info in fed})
        with open_dataset(spec, self.request.resolve, fed, samples=self.request.samples) as data:
            self._require_fitting(spec, data)
            self._data(reference, data, values)
            samples = gather_rows(data, rows_at(corners)) if corners else {}
        for corner in corners:
            self._corner(reference, corner, samples)

    def _require_fitting(self, spec: DatasetSpec, data: Dataset) -> None:
        """Checks that sample shapes which are only known now fit a profile; those of files were checked before."""
        if not runs_code(spec):
            return
        shapes = [shapes for shapes, _ in data.shapes_by_sample()]
        found = prove_samples(shapes, self.inputs, self.request.profiles, data=spec.python or "")
        if found:
            raise SpecError([Problem(one.code, one.fact, one.remedy, path=("python",)) for one in found])

    def _data(self, reference: SourceReference, data: Dataset, values: Mapping[str, tuple[int, ...]]) -> None:
        measured: dict[str, Accumulator] = {}
        looked = False
        shapes: dict[str, list[int]] = {}
        with self._timed("data"):
            for inputs, labels in data:
                feed = {**inputs, **value_inputs(self.inputs, values)}
                shapes = shapes or _shapes(feed)
                expected = reference.expected(feed)
                actual = self.runner.infer(feed)
                measured = measured or self._accumulators(expected)
                self._measure("data", measured, expected, actual, labels)
                self._keep("data", feed, expected, actual, labels)
                if not looked or (not self.nonfinite and _differs(expected, actual)):
                    looked = True
                    self._locate("data", feed, reference)
            about = {"batch": data.batch, "dropped": data.dropped, "labels": data.has_labels}
            self._place("data", "data", measured, samples=data.samples, shapes=shapes, **about)

    def _corner(self, reference: SourceReference, corner: CornerInputs, samples: Feed) -> None:
        reason = too_much(self.model, self.inputs, corner, self.request.memory_limit)
        if reason:
            self._skip(corner.place, reason)
            return
        feed = feed_at(corner, self.inputs, samples)
        try:
            expected = reference.expected(feed)
        except TrtpipeError as error:
            self._without_reference(corner, feed, error)
            return
        with self._timed(corner.place):
            try:
                actual = self.runner.infer(feed)
            except StepFailed as error:
                problem = error.problems[0]
                raise StepFailed(
                    problem.code, f"at {corner.place}: {problem.fact}", problem.remedy
                ) from error
            measured = self._accumulators(expected)
            self._measure(corner.place, measured, expected, actual, None)
            self._keep(corner.place, feed, expected, actual, None)
            self._place(corner.place, "corner", measured, samples=None, shapes=_shapes(feed))
        self._locate(corner.place, feed, reference)

    def _without_reference(self, corner: CornerInputs, feed: Feed, error: TrtpipeError) -> None:
        """Handles a corner where the reference fails: an error if the typed model fails too, else not compared."""
        try:
            self.runner.infer(feed)
        except StepFailed:
            raise StepFailed(impossible_at(corner, error.problems[0])) from error
        self._skip(corner.place, f"the reference does not run there: {error.problems[0].fact}")

    def _accumulators(self, expected: Feed) -> dict[str, Accumulator]:
        def made() -> Accumulator:
            return Accumulator(spread=Spread() if self.kept is not None else None)

        return {name: made() for name in self.compared if name in expected}

    def _keep(self, place: str, feed: Feed, expected: Feed, actual: Feed, labels: Array | None) -> None:
        """Records the first samples of the data, and keeps the worst sample of every place."""
        if self.kept is None:
            return
        self.kept.outputs.add(place, actual)
        outputs = {name: expected[name] for name in self.compared if name in expected}
        if place in ("data", "golden"):
            count = max((np.shape(array)[0] for array in feed.values() if np.ndim(array)), default=1)
            self.kept.recorder.add(RecordedRun(feed, outputs, labels=labels), count)
        cut = place == "data" and takes_one_sample(self.request.profiles, self.inputs)
        self.kept.worst.add(RecordedRun(feed, outputs, actual, labels, place), outputs, cut=cut)

    def _measure(
        self,
        place: str,
        measured: Mapping[str, Accumulator],
        expected: Feed,
        actual: Feed,
        labels: Array | None,
    ) -> None:
        for name, accumulator in measured.items():
            if np.shape(actual[name]) != np.shape(expected[name]):
                shape, wanted = format_shape(np.shape(actual[name])), format_shape(np.shape(expected[name]))
                raise StepFailed(
                    Code.OUTPUT_DIFFERS,
                    f"output '{name}' is {shape} instead of the reference's {wanted} ({place})",
                )
            accumulator.add(expected[name], actual[name], labels)

    def _place(self, place: str, kind: str, measured: Mapping[str, Accumulator], **about: Json) -> None:
        outputs = {name: accumulator.result().as_json() for name, accumulator in measured.items()}
        self.places.append({"place": place, "kind": kind, **about, "outputs": outputs})

    def _locate(self, place: str, feed: Feed, reference: SourceReference | None) -> None:
        """Notes the tensors in which infinities and NaN begin, each once."""
        if self.watch is None:
            return
        source, source_feed = (reference.model, reference.feed(feed)) if reference else (None, {})
        known = {tensor["tensor"] for tensor in self.nonfinite}
        tensors = self.watch.first_nonfinite(feed, source, source_feed)
        self.nonfinite += [{"place": place, **tensor} for tensor in tensors if tensor["tensor"] not in known]

    def _lacking(self, outputs: Iterable[str], why: str) -> None:
        for name in outputs:
            self._skip(f"output {name}", why)

    def _skip(self, name: str, why: str) -> None:
        self.not_run.append({"name": name, "why": why})

    @contextmanager
    def _timed(self, place: str) -> Iterator[None]:
        clock: Callable[[], float] = time.monotonic
        started = clock()
        yield
        self.seconds[place] = round(clock() - started, 3)


def _shapes(feed: Feed) -> dict[str, list[int]]:
    return {name: list(array.shape) for name, array in feed.items()}


def _broken(array: Array) -> bool:
    return bool(array.dtype.kind == "f" and not np.isfinite(array).all())


def _differs(expected: Feed, actual: Feed) -> bool:
    """Whether an output is not finite where its reference is."""
    return any(
        _broken(array) and not _broken(expected.get(name, array[:0])) for name, array in actual.items()
    )
