"""Validates an engine: on recorded samples against the reference's outputs, and at every profile corner.

At corners, for which nothing is recorded, the reference is the typed model in ONNX Runtime, which was validated against
the source when the engine was built. Inputs for corners are made from the recorded samples. The caller passes in what
runs the inputs: an engine on a GPU (`GpuEngine`), or the typed model itself if there is no GPU (`TypedModel`).

Independent of manifests and thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import onnxruntime

from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.errors import ModelError, SpecError, StepFailed
from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.spread import Spread
from trtpipe.problem_codes import Code
from trtpipe.proofs.randomness import drawn_outputs
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import NoKernel, OnnxRuntimeRunner, open_runner
from trtpipe.runners.cpu.twins import twins_in
from trtpipe.runners.inference.delivered import DeliveredEngine
from trtpipe.runners.inference.requests import EngineRun
from trtpipe.runners.inference.results import GpuFacts, Inference
from trtpipe.runners.inference.tensors import element_type, store_tensors
from trtpipe.runners.validation.corner_inputs import gather_rows
from trtpipe.runners.validation.inputs_before import inputs_before
from trtpipe.runners.validation.recordings import RecordedRun, Worst, read_recording
from trtpipe.runners.validation.requests import all_corners, feed_at, rows_at, takes_one_sample, too_much
from trtpipe.shapes import format_shape
from trtpipe.spec.pipeline import Profile

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json, JsonObject

SCHEMA = 1


@dataclass(frozen=True)
class Feed:
    """Inputs by name at a place; the profile follows from their shapes unless it is given."""

    place: str
    inputs: Mapping[str, Array]
    profile: int | None = None


class Infer(Protocol):
    """A function that runs what is validated."""

    def __call__(self, feeds: Sequence[Feed]) -> list[Mapping[str, Array]]:
        """Outputs by name for each feed. Raises TrtpipeError when any of them fails."""


RunEngine = Callable[[DeliveredEngine, Sequence[EngineRun], Path], Inference]
"""Runs an engine; its outputs are files in the directory. Raises what `run_engine` raises."""


@dataclass
class GpuEngine:
    """An engine on a GPU; each call is a process of its own, with a directory of its own in `folder`."""

    delivered: DeliveredEngine
    folder: Path
    run: RunEngine
    gpu: GpuFacts | None = None
    tensorrt: str = ""
    _calls: Iterator[int] = field(default_factory=count)

    def __call__(self, feeds: Sequence[Feed]) -> list[Mapping[str, Array]]:
        """Outputs by name for each feed. Raises what `run_engine` raises."""
        place = self.folder / f"call{next(self._calls)}"
        place.mkdir()
        runs = [
            EngineRun(store_tensors(feed.inputs, place, f"run{number}-input"), feed.profile)
            for number, feed in enumerate(feeds)
        ]
        found = self.run(self.delivered, runs, place)
        self.gpu, self.tensorrt = found.gpu, found.tensorrt
        return [{name: tensor.array() for name, tensor in run.outputs.items()} for run in found.runs]

    def facts(self) -> dict[str, Json] | None:
        """The GPU, as a proof names it; None while nothing has run."""
        if self.gpu is None:
            return None
        names = ("name", "compute_capability", "cuda", "memory_total")
        return {name: getattr(self.gpu, name) for name in names}


@dataclass(frozen=True)
class TypedModel:
    """The typed model in ONNX Runtime."""

    runner: OnnxRuntimeRunner

    def __call__(self, feeds: Sequence[Feed]) -> list[Mapping[str, Array]]:
        """Outputs by name for each feed. Raises StepFailed."""
        return [self.runner.infer(feed.inputs) for feed in feeds]


@contextmanager
def typed_model(path: Path) -> Iterator[TypedModel]:
    """The typed model at a path, ready to be run. Raises ModelError."""
    with open_runner(runnable_model(path)) as runner:
        yield TypedModel(runner)


@dataclass(frozen=True)
class EngineSubject:
    """Facts about an engine that validation needs."""

    typed: Path
    golden: Path
    profiles: tuple[Profile, ...] = ()
    corners: bool = True
    no_corners: str = ""
    """Why corners are left out although there are profiles and they are asked for."""
    graft: JsonObject | None = None
    """Layers in front of the typed model, which the recording does not know: the edges of a bundle."""


@dataclass
class _Measuring:
    """One validation in progress."""

    model: RunnableModel
    inputs: tuple[TensorInfo, ...]
    worst: Worst
    cut: bool
    """Whether the engine accepts a single sample."""
    places: list[dict[str, Json]] = field(default_factory=list)
    broken: list[dict[str, str]] = field(default_factory=list)
    not_run: list[dict[str, str]] = field(default_factory=list)
    drawn: Collection[str] = ()
    """The outputs that depend on random numbers, which are not compared."""

    def __post_init__(self) -> None:
        drawn = drawn_outputs(self.model.proto)
        self.drawn = drawn.keys()
        for name, why in drawn.items():
            self.skip(f"output {name}", why)

    def skip(self, name: str, why: str) -> None:
        """Record what was not run."""
        self.not_run.append({"name": name, "why": why})

    def compare(self, place: str, kind: str, runs: Sequence[tuple[RecordedRun, Mapping[str, Array]]]) -> None:
        """Measure runs at one place, each with its outputs."""
        measured: dict[str, Accumulator] = {}
        for run, found in runs:
            for name, expected in run.outputs.items():
                if name in self.drawn:
                    continue
                why = _misfit(name, expected, found)
                if why:
                    self.broken.append({"place": place, "why": why})
                    return
                accumulator = measured.setdefault(name, Accumulator(spread=Spread()))
                accumulator.add(widened(expected), widened(found[name]), run.labels)
            kept = RecordedRun(run.inputs, run.outputs, found, run.labels, place)
            self.worst.add(kept, run.outputs, cut=self.cut and kind == "data")
        shapes = {name: list(np.shape(array)) for name, array in runs[0][0].inputs.items()}
        outputs = {name: accumulator.result().as_json() for name, accumulator in measured.items()}
        self.places.append({"place": place, "kind": kind, "shapes": shapes, "outputs": outputs})


def typed_inputs(infos: Sequence[TensorInfo], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs in the types of the typed model, which the engine has too."""
    made = {}
    for info in infos:
        with np.errstate(over="ignore"):
            made[info.name] = np.asarray(inputs[info.name]).astype(element_type(info.dtype), copy=False)
    return made


def measure_engine(subject: EngineSubject, infer: Infer, worst: Worst) -> dict[str, Json]:
    """The measurements, in the form of a validation's report; `broken` has the places without outputs.

    Raises ModelError for a damaged directory, ToolchainError where this machine cannot run the engine.
    """
    model = runnable_model(subject.typed)
    inputs = summarize(model.proto).inputs
    run = _Measuring(model, inputs, worst, takes_one_sample(subject.profiles, inputs))
    runs = _recorded(subject, run)
    data = [Feed("data", typed_inputs(run.inputs, one.inputs)) for one in runs]
    corners = _corners(subject, run, runs)
    answers = _answers([*data, *(feed for feed, _ in corners)], infer, run)
    found = [answer for answer in answers[: len(data)] if answer is not None]
    if runs and len(found) == len(data):
        run.compare("data", "data", list(zip(runs, found, strict=True)))
    for (feed, expected), answer in zip(corners, answers[len(data) :], strict=True):
        if answer is not None:
            run.compare(feed.place, "corner", [(RecordedRun(feed.inputs, expected), answer)])
    return {
        "schema": SCHEMA,
        "reference": "recorded outputs; at corners the typed model in ONNX Runtime",
        "onnxruntime": onnxruntime.__version__,
        "twins": dict(twins_in(model)) if corners else {},
        "places": run.places,
        "broken": run.broken,
        "nonfinite": [],
        "not_run": run.not_run,
        "recorded": sum(one.samples for one in runs),
    }


def _recorded(subject: EngineSubject, run: _Measuring) -> list[RecordedRun]:
    """The recorded samples that have all inputs, and those of their outputs that the model has."""
    if not subject.golden.is_file():
        run.skip("data", f"there is no {subject.golden.name} with recorded samples")
        return []
    outputs = run.model.outputs()
    runs = []
    for one in read_recording(subject.golden):
        missing = [info.name for info in run.inputs if info.name not in one.inputs]
        if missing:
            raise ModelError(
                Code.MANIFEST_DAMAGED,
                f"{subject.golden} lacks input '{missing[0]}'",
                "build the cell again, or copy it again",
            )
        known = {name: array for name, array in one.outputs.items() if name in outputs}
        runs.append(RecordedRun(inputs_before(subject.graft, one.inputs), known, labels=one.labels))
    for name in outputs:
        if runs and name not in runs[0].outputs and name not in run.drawn:
            run.skip(f"output {name}", "it was not recorded")
    return runs


def _corners(
    subject: EngineSubject, run: _Measuring, runs: Sequence[RecordedRun]
) -> list[tuple[Feed, Mapping[str, Array]]]:
    """Inputs and expected outputs of every corner that can be run."""
    corners = all_corners(subject.profiles, run.inputs) if subject.corners else []
    why = subject.no_corners or ("" if runs else "there are no samples to make its inputs of")
    if why:
        for corner in corners:
            run.skip(corner.place, why)
        return []
    if not corners:
        return []
    samples = gather_rows(
        [(dict(typed_inputs(run.inputs, one.inputs)), None) for one in runs], rows_at(corners)
    )
    made: list[tuple[Feed, Mapping[str, Array]]] = []
    try:
        with open_runner(run.model) as reference:
            for corner in corners:
                why = too_much(run.model, run.inputs, corner)
                feed = {} if why else feed_at(corner, run.inputs, samples)
                expected, why = _expected(reference, feed) if not why else ({}, why)
                if why:
                    run.skip(corner.place, why)
                else:
                    made.append((Feed(corner.place, feed, corner.profile), expected))
    except NoKernel as error:
        for corner in corners:
            run.skip(corner.place, f"the typed model cannot be run on the CPU: {error.problems[0].fact}")
        return []
    return made


def _expected(reference: OnnxRuntimeRunner, feed: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
    try:
        return reference.infer(feed), ""
    except StepFailed as error:
        return {}, f"the typed model does not run there: {error.problems[0].fact}"


def _answers(feeds: Sequence[Feed], infer: Infer, run: _Measuring) -> list[Mapping[str, Array] | None]:
    """Outputs for each feed, all at once; if that fails, one by one, to find the failing one."""
    if not feeds:
        return []
    try:
        return list(infer(feeds))
    except (StepFailed, SpecError) as error:
        if len(feeds) == 1:
            run.broken.append({"place": feeds[0].place, "why": error.problems[0].fact})
            return [None]
    found: list[Mapping[str, Array] | None] = []
    for feed in feeds:
        known = [one["place"] for one in run.broken]
        if feed.place in known:  # the other batches of the same data are reported together
            found.append(None)
            continue
        try:
            found += infer([feed])
        except (StepFailed, SpecError) as error:
            run.broken.append({"place": feed.place, "why": error.problems[0].fact})
            found.append(None)
    return found


def _misfit(name: str, expected: Array, found: Mapping[str, Array]) -> str:
    if name not in found:
        return f"output '{name}' is not among those of the engine: {', '.join(found) or 'none'}"
    if np.shape(found[name]) != np.shape(expected):
        shape, wanted = format_shape(np.shape(found[name])), format_shape(np.shape(expected))
        return f"output '{name}' is {shape} instead of the reference's {wanted}"
    return ""


def widened(array: Array) -> Array:
    """The array in a type that NumPy has itself."""
    array = np.asarray(array)
    return array if array.dtype.isbuiltin == 1 else array.astype(np.float32)
