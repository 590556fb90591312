"""Runs a model at the shapes of its first spec, in a process of its own, and tests what half precision can hold.

The canonical model runs once on random inputs at the profile's opt, and at min and max if that is cheap. That shows
whether it runs there, where NaN begins, and how large its tensors become. The nodes that compute or read values beyond
half's range are kept in float32; the half model is then compared with the float32 one at one of these shapes. All of
this is a guess from random inputs: real data may have larger values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import StepFailed
from trtpipe.json_values import Json
from trtpipe.plan.options import QuantizeOptions
from trtpipe.plan.task import HALF, MODEL, Task
from trtpipe.runners.validation.corner_inputs import CornerInputs
from trtpipe.spec.variant import VariantSpec

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.runners.cpu.graphs import RunnableModel
    from trtpipe.spec.pipeline import Threshold

    Feed = Mapping[str, Array]

_LARGEST_HALF = 65504.0
_MARGIN = 2.0  # other inputs may have larger values than the tested ones
_PEAK, _NAN = "/largest", "/nan"
_LEAST_SHARE = VariantSpec().min_low_precision
_CHEAP = 0.5
"""Estimated seconds of one core up to which the model is also run at min and max."""
_BEARABLE = 2.0
"""Estimated seconds up to which the half model is run too; at the cheapest corner it always is."""
_SLACK = 0.5
"""The share of a threshold's tolerance that one run may use, because a build tests more inputs and shapes."""
_OPERATIONS, _BYTES = 20e9, 1e9
"""What one core does in a second, roughly: multiplications and additions of products; bytes of tensors made."""


@dataclass(slots=True)
class Fit:
    """What was observed when a model ran."""

    ran: list[str] = field(default_factory=list)
    """The corners at which it ran: `opt`, `min`, `max`."""
    left_out: list[str] = field(default_factory=list)
    """Corners at which it was not tried because of the cost."""
    failed: dict[str, str] = field(default_factory=dict)
    """Corner → why it does not run there."""
    nan: str = ""
    """Where NaN begins, as text."""
    keep: list[str] = field(default_factory=list)
    """Globs of the nodes that a half variant keeps in float32."""
    cosine: float | None = None
    """What the outputs can be held to at most, for a model whose own rounding leaves less than the usual."""
    largest: int = 0
    """Bytes of the largest tensor that is made at any corner, whether it was tried there or not."""
    unsteady: str = ""
    """The cosine under rounding alone, if it is so low that a comparison proves nothing."""
    refused: str = ""
    """Why a half variant would not pass; empty when it passes or none was asked for."""
    untried: str = ""
    """Why that could not be tried."""
    quantized: dict[str, Json] = field(default_factory=dict)
    """The half model that was tried: the options of its quantize step, and that step's summary."""

    def to_json(self) -> dict[str, Json]:
        """Plain data, to hand to another process."""
        return {
            "ran": [*self.ran],
            "left_out": [*self.left_out],
            "failed": dict(self.failed),
            "nan": self.nan,
            "keep": [*self.keep],
            "cosine": self.cosine,
            "largest": self.largest,
            "unsteady": self.unsteady,
            "refused": self.refused,
            "untried": self.untried,
            "quantized": dict(self.quantized),
        }


@dataclass(frozen=True, slots=True)
class _Place:
    """Shapes to run at, and roughly how many seconds that takes."""

    names: tuple[str, ...]
    inputs: CornerInputs
    seconds: float
    largest: int
    """Bytes of the largest tensor that is made there."""


def fit_model(task: Task) -> Fit:
    """Runs the model of a task; with the option `half`, fits a half variant as well. Raises ModelError, StepFailed."""
    from trtpipe.runners.cpu.graphs import runnable_model
    from trtpipe.runners.cpu.onnxruntime import NoKernel

    canonical = _transformed(task)
    model = runnable_model(canonical)
    places = _places(model, task)
    fit = Fit(largest=max(place.largest for place in places))
    feeds = _feeds(model, task, places)
    try:
        outputs, peaks = _run(model, places, feeds, fit)
    except NoKernel as error:
        fit.untried = error.problems[0].fact
        return fit
    _expect(model, feeds, outputs, fit)
    if task.options.get("half") and outputs:
        ran = [place for place in places if place.names[0] in outputs]
        held = [place for place in ran if place.seconds <= _BEARABLE]
        held = held or [min(ran, key=lambda place: place.seconds)]
        compared = {place.names[0]: (feeds[place.names[0]], outputs[place.names[0]]) for place in held}
        fit.keep = [_glob(name) for name in _overflowing(canonical, model, peaks)]
        try:
            fit.refused = _refused(_half_task(task, canonical, fit), fit, compared)
        except (NoKernel, StepFailed) as error:
            fit.untried = error.problems[0].fact
    return fit


def _expect(model: RunnableModel, feeds: Mapping[str, Feed], outputs: Mapping[str, Feed], fit: Fit) -> None:
    """Notes the accuracy to expect of the outputs, if that is less than float32's default expectation."""
    from trtpipe.precisions import find_precision
    from trtpipe.runners.rounding.own_rounding import NothingToExpect, expected_cosine

    floats = find_precision("fp32")
    assert floats is not None, "fp32 is one of trtpipe's own"
    (usual,) = (one.min for one in floats.default_thresholds if one.metric == "cosine")
    try:
        found = expected_cosine(model, feeds, outputs)
    except NothingToExpect as error:
        fit.unsteady = str(error)
        return
    if found is not None and usual is not None and found < usual:
        fit.cosine = found


def _transformed(task: Task) -> Path:
    from trtpipe.stages.plan_stages import transform_to

    canonical = task.input("typed")
    transform = task.options.get("transform") or {}
    if not transform:
        return canonical
    changed = task.out / "transformed.onnx"
    named = {canonical.name: canonical}
    transform_to(Task("transform", transform, {"model": named}, task.out), changed)
    return changed


def _places(model: RunnableModel, task: Task) -> list[_Place]:
    """The corners of the first profile, opt first; equal ones once."""
    from trtpipe.canonical.summary import summarize
    from trtpipe.proofs.corners import shapes_at, values_at
    from trtpipe.runners.validation.requests import request_of

    profiles = request_of(task).profiles
    profile = profiles[0] if profiles else {}
    inputs = summarize(model.proto).inputs
    named: dict[str, tuple[list[str], CornerInputs]] = {}
    for corner in ("opt", "min", "max"):
        made = CornerInputs("", shapes_at(inputs, profile, corner), values_at(profile, corner))
        named.setdefault(repr((made.shapes, made.values)), ([], made))[0].append(corner)
    return [_Place(tuple(names), made, *_estimated(model, made)) for names, made in named.values()]


def _estimated(model: RunnableModel, corner: CornerInputs) -> tuple[float, int]:
    """The rough run time in seconds of one core, and the bytes of the largest tensor."""
    from trtpipe.canonical.inference import infer_at
    from trtpipe.inspection.costs import costs_of
    from trtpipe.proofs.corners import nbytes_of_info

    inferred = infer_at(model.proto, corner.shapes, corner.values)
    made = [nbytes_of_info(info) or 0 for info in inferred.values.values()]
    seconds = costs_of(model.proto, inferred).flops / _OPERATIONS + sum(made) / _BYTES
    return seconds, max(made, default=0)


def _feeds(model: RunnableModel, task: Task, places: Sequence[_Place]) -> dict[str, dict[str, Array]]:
    """Inputs for each place: random numbers within the ranges that indices allow."""
    from trtpipe.canonical.summary import summarize
    from trtpipe.datasets.samples.batches import open_dataset
    from trtpipe.runners.validation.corner_inputs import gather_rows
    from trtpipe.runners.validation.requests import dataset_of, feed_at, request_of, rows_at

    request = request_of(task)
    inputs = summarize(model.proto).inputs
    dataset = dataset_of(request, inputs, model)
    assert dataset is not None, "random inputs were asked for"
    fed: list[TensorInfo] = [info for info in inputs if info.name not in places[0].inputs.values]
    with open_dataset(dataset, request.resolve, fed) as data:
        samples = gather_rows(data, rows_at([place.inputs for place in places]))
    return {place.names[0]: feed_at(place.inputs, inputs, samples) for place in places}


def _run(
    model: RunnableModel, places: Sequence[_Place], feeds: Mapping[str, Mapping[str, Array]], fit: Fit
) -> tuple[dict[str, dict[str, Array]], dict[str, float]]:
    """Outputs by the place that they were computed at, and float tensor → its largest magnitude anywhere."""
    from trtpipe.runners.cpu.onnxruntime import open_runner

    names = [name for name, _ in model.floats()]
    outputs: dict[str, dict[str, Array]] = {}
    peaks: dict[str, float] = {}
    with open_runner(_measured(model, names, _PEAK), spinning=False) as runner:
        for place in places:
            if place.names[0] != "opt" and place.seconds > _CHEAP:
                fit.left_out += place.names
                continue
            try:
                found = runner.infer(feeds[place.names[0]])
            except StepFailed as error:
                fit.failed |= dict.fromkeys(place.names, error.problems[0].fact)
                continue
            fit.ran += place.names
            given = {name: value for name, value in found.items() if not name.endswith(_PEAK)}
            outputs[place.names[0]] = given
            _raise_peaks(peaks, found)
            if not fit.nan and any(map(_has_nan, given.values())):
                fit.nan = _where_nan_begins(model, names, feeds[place.names[0]])
    return outputs, peaks


def _raise_peaks(peaks: dict[str, float], found: Mapping[str, Array]) -> None:
    """Updates the largest magnitudes; infinities that are intended count as 0."""
    import numpy as np

    for name, value in found.items():
        if name.endswith(_PEAK):
            peak = float(np.max(value, initial=0.0))
            known = name.removesuffix(_PEAK)
            peaks[known] = max(peaks.get(known, 0.0), peak if np.isfinite(peak) else 0.0)


def _has_nan(array: Array) -> bool:
    import numpy as np

    return bool(array.dtype.kind == "f" and np.isnan(array).any())


def _where_nan_begins(model: RunnableModel, names: Sequence[str], feed: Mapping[str, Array]) -> str:
    from trtpipe.runners.cpu.onnxruntime import open_runner

    with open_runner(_measured(model, names, _NAN), spinning=False) as runner:
        found = runner.infer(feed)
    broken = {name.removesuffix(_NAN) for name, value in found.items() if name.endswith(_NAN) and value > 0}
    for node in model.proto.graph.node:
        if not broken.isdisjoint(node.output):
            made = next(name for name in node.output if name in broken)
            return f"node '{node.name or made}' ({node.op_type}), which makes '{made}'"
    return "an output"


def _measured(model: RunnableModel, names: Sequence[str], what: str) -> RunnableModel:
    """A copy with one more scalar output for each of these tensors, its largest magnitude or whether it contains NaN,
    so that no tensor is held in memory.

    Each is gauged right behind the node that makes it: behind the last node, all would be held until then.
    """
    kinds = {name: info.dtype for name, info in model.values.items()}
    measured = model.only_outputs([*model.outputs(), *(f"{name}{what}" for name in names)])
    measured = replace(measured, known=model.values)  # the added types are not known
    graph = measured.proto.graph
    for value, known in zip(graph.output, model.proto.graph.output, strict=False):
        value.CopyFrom(known)
    left = dict.fromkeys(names)
    nodes: list[onnx.NodeProto] = []
    for node in list(graph.node):
        nodes.append(node)
        for name in [one for one in node.output if one in left]:
            del left[name]
            nodes += _gauge(name, kinds.get(name, ""), what)
    given = [one for name in left for one in _gauge(name, kinds.get(name, ""), what)]
    del graph.node[:]
    graph.node.extend([*given, *nodes])
    return measured


def _gauge(name: str, kind: str, what: str) -> Iterator[onnx.NodeProto]:
    """The nodes that make one number of a tensor of this type."""
    from onnx import TensorProto

    source, end = name, f"{name}{what}"
    if kind != "float32":
        yield _node("Cast", source, f"{end}/wide", to=TensorProto.FLOAT)
        source = f"{end}/wide"
    yield _node("Abs" if what == _PEAK else "IsNaN", source, f"{end}/each")
    source = f"{end}/each"
    if what == _NAN:
        yield _node("Cast", source, f"{end}/number", to=TensorProto.FLOAT)
        source = f"{end}/number"
    yield _node("ReduceMax", source, end, keepdims=0)


def _node(operator: str, source: str, target: str, **attributes: int | Sequence[int]) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(operator, [source], [target], **attributes)


def _overflowing(canonical: Path, model: RunnableModel, peaks: Mapping[str, float]) -> Iterator[str]:
    """The nodes of a half variant that compute or read a tensor beyond half's range, by name, in graph order."""
    from trtpipe.canonical.reader import ir_model, read_skeleton
    from trtpipe.precisions import find_precision

    half = find_precision("fp16")
    assert half is not None, "fp16 is one of trtpipe's own"
    beyond = {name for name, peak in peaks.items() if not peak * _MARGIN <= _LARGEST_HALF}
    if not beyond:
        return
    planned = half.plan_types(ir_model(read_skeleton(canonical))).nodes
    for node in model.proto.graph.node:
        touched = not beyond.isdisjoint(node.output) or not beyond.isdisjoint(node.input)
        if touched and node.name in planned and planned[node.name].dtype == half.dtype:
            yield node.name


def _metrics_of(expected: Array, actual: Array) -> Json:
    from trtpipe.metrics.metrics import Accumulator

    accumulator = Accumulator()
    accumulator.add(expected, actual)
    return accumulator.result().as_json()


def _half_task(task: Task, canonical: Path, fit: Fit) -> Task:
    """The quantize step of the half variant."""
    from trtpipe.precisions import find_precision

    half = find_precision("fp16")
    assert half is not None, "fp16 is one of trtpipe's own"
    keep: dict[str, Json] = {"fp32": [*fit.keep]} if fit.keep else {}
    named: dict[str, Json] = {"precision": half.name, "precision_version": half.version, "keep": keep}
    options = QuantizeOptions.from_record(named)
    out = task.out / HALF
    out.mkdir()
    files = {path.name: path for path in sorted(canonical.parent.glob(f"{canonical.name}*"))}
    return Task("quantize", options.record(), {"model": files}, out)


def _refused(task: Task, fit: Fit, compared: Mapping[str, tuple[Feed, Feed]]) -> str:
    """Why the variant of a quantize step would not pass, in a few words; empty when it passes.

    `compared` are inputs and the float32 model's outputs for them, by corner.
    """
    from trtpipe.metrics.verdicts import judge_report
    from trtpipe.precisions import find_precision
    from trtpipe.precisions.audit import low_shares
    from trtpipe.proofs.randomness import drawn_outputs
    from trtpipe.runners.cpu.graphs import runnable_model
    from trtpipe.runners.cpu.onnxruntime import open_runner
    from trtpipe.spec.pipeline import Threshold
    from trtpipe.stages.plan_stages import typed_of, write_typed

    half = find_precision("fp16")
    assert half is not None, "fp16 is one of trtpipe's own"
    typed = typed_of(task)
    shares = low_shares(half.name, typed.audit.nodes, typed.audit.weight_elements)
    if not shares or min(shares) < _LEAST_SHARE:
        return "next to nothing of the model computes in it"
    write_typed(task, typed)
    fit.quantized = {"options": dict(task.options), "summary": typed.to_json()}
    model = runnable_model(task.out / MODEL)
    drawn = drawn_outputs(model.proto)
    places: list[Json] = []
    with open_runner(model, spinning=False) as runner:
        for corner, (feed, expected) in compared.items():
            actual = runner.infer(feed)
            kept = {name: value for name, value in expected.items() if name in actual and name not in drawn}
            reshaped = next((name for name, value in kept.items() if value.shape != actual[name].shape), None)
            if reshaped is not None:
                return f"output '{reshaped}' gets another shape in half precision"
            measured = {name: _metrics_of(value, actual[name]) for name, value in kept.items()}
            places.append({"place": f"at {corner}", "kind": "data", "outputs": measured})
    report: dict[str, Json] = {"places": places, "nonfinite": []}
    asked = half.default_thresholds if fit.cosine is None else (Threshold(metric="cosine", min=fit.cosine),)
    judgement = judge_report(report, (), [_tightened(one) for one in asked])
    return judgement.problems[0].fact if judgement.problems else ""


def _tightened(threshold: Threshold) -> Threshold:
    """The threshold with less tolerance, if it is a minimum similarity of at most 1."""
    if threshold.metric != "cosine" or threshold.min is None:
        return threshold
    return threshold.model_copy(update={"min": 1 - (1 - threshold.min) * _SLACK})


def _glob(name: str) -> str:
    """A glob that matches only this name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
