"""Fits a half-precision variant to a model: which nodes must stay in float32 for a first spec to hold its thresholds.

Runs the float32 model once on the spec's own random inputs, keeps the nodes that make or read what half cannot hold,
then validates the result as a build would. A guess from random inputs: real data may reach further.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.describing.init_spec import HalfVariant
from trtpipe.frontends import Frontend, ModelFiles, lower_model
from trtpipe.planning import profiles_record, transform_options
from trtpipe.spec.fields import SpecModel
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.spec.variant import VariantSpec
from trtpipe.stages.task import Task

if TYPE_CHECKING:
    import onnx

    from trtpipe.runners.graphs import RunnableModel

_LARGEST_HALF = 65504.0
_MARGIN = 2.0  # other inputs may reach further than those that were tried
_PEAK = "/largest"
_LEAST_SHARE = VariantSpec().min_low_precision


def fit_half(spec: PipelineSpec, frontend: Frontend, files: ModelFiles, options: SpecModel) -> HalfVariant:
    """What a variant `fp16` of this spec needs, one that is validated on random inputs.

    Raises ModelError or StepFailed where the model cannot be run on this machine's CPU.
    """
    with tempfile.TemporaryDirectory(prefix="trtpipe-fit-") as name:
        folder = Path(name)
        imported = folder / "imported.onnx"
        lower_model(frontend, files, options, imported)
        canonical = _transformed(spec, imported, folder)
        runs = frontend.name == "onnx" and files.source is not None
        task = _task(spec, files.model if runs else imported, canonical, folder)
        keep = tuple(map(_glob, _overflowing(canonical, task)))
        return HalfVariant(keep, _refused(canonical, keep, task))


def _transformed(spec: PipelineSpec, imported: Path, folder: Path) -> Path:
    from trtpipe.system.plugins import InstalledPlugins

    transform = transform_options(spec.transform).record()
    if not transform:
        return imported
    changed = folder / "transformed.onnx"
    task = Task("transform", transform, {"model": {imported.name: imported}}, folder)
    InstalledPlugins().transform(task, changed)
    return changed


def _task(spec: PipelineSpec, model: Path, canonical: Path, folder: Path) -> Task:
    asked = spec.validate_
    assert asked is not None and asked.random is not None, "a first spec validates on random inputs"
    options = {
        "data": {"random": asked.random.model_dump()},
        "profiles": profiles_record(spec.profiles),
        "corners": True,
        "reference": "onnxruntime",
        "transform": transform_options(spec.transform).record(),
    }
    return Task("validate", options, {"typed": {"": canonical}, "reference": {"": model}}, folder)


def _overflowing(canonical: Path, task: Task) -> Iterator[str]:
    """The nodes of a half variant that make or read a tensor which half cannot hold, by name, in graph order."""
    from trtpipe.canonical.reading import ir_model, read_skeleton
    from trtpipe.precisions import find_precision
    from trtpipe.runners.graphs import runnable_model

    half = find_precision("fp16")
    assert half is not None, "fp16 is one of trtpipe's own"
    planned = half.plan_types(ir_model(read_skeleton(canonical))).nodes
    model = runnable_model(canonical)
    peaks = _peaks(model, task)
    beyond = {name for name, peak in peaks.items() if not peak * _MARGIN <= _LARGEST_HALF}
    for node in model.proto.graph.node:
        touched = not beyond.isdisjoint(node.output) or not beyond.isdisjoint(node.input)
        if touched and node.name in planned and planned[node.name].dtype == half.dtype:
            yield node.name


def _peaks(model: RunnableModel, task: Task) -> dict[str, float]:
    """Float tensor → its largest magnitude over the spec's random inputs; infinities that are meant count as 0."""
    import numpy as np

    from trtpipe.canonical.summary import summarize
    from trtpipe.datasets import open_dataset
    from trtpipe.runners.onnxruntime import open_runner
    from trtpipe.runners.requests import dataset_of, request_of

    request = request_of(task)
    inputs = summarize(model.proto).inputs
    dataset = dataset_of(request, inputs, model)
    assert dataset is not None, "random inputs were asked for"
    peaks: dict[str, float] = {}
    names = [name for name, _ in model.floats()]
    if not names:
        return peaks
    with (
        open_runner(_measured(model, names)) as runner,
        open_dataset(dataset, request.resolve, inputs) as batches,
    ):
        for feed, _ in batches:
            for name, value in runner.infer(feed).items():
                peak = float(np.max(value, initial=0.0))
                known = name.removesuffix(_PEAK)
                peaks[known] = max(peaks.get(known, 0.0), peak if np.isfinite(peak) else 0.0)
    return peaks


def _measured(model: RunnableModel, names: list[str]) -> RunnableModel:
    """A copy whose outputs are the largest magnitudes of these tensors, so that none is held whole."""
    from onnx import TensorProto

    measured = model.only_outputs([f"{name}{_PEAK}" for name in names])
    for name in names:
        wide, size = f"{name}{_PEAK}/wide", f"{name}{_PEAK}/size"
        measured.proto.graph.node.extend(
            [
                _node("Cast", name, wide, to=TensorProto.FLOAT),
                _node("Abs", wide, size),
                _node("ReduceMax", size, f"{name}{_PEAK}", keepdims=0),
            ]
        )
    return measured


def _node(operator: str, source: str, target: str, **attributes: int | Sequence[int]) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(operator, [source], [target], **attributes)


def _refused(canonical: Path, keep: tuple[str, ...], task: Task) -> str:
    """Why the variant would not pass, in a few words; empty when it passes."""
    from trtpipe.comparing.judging import judge_report
    from trtpipe.precisions import find_precision
    from trtpipe.precisions.casting.files import rewrite_file
    from trtpipe.runners.validate import run_validation

    half = find_precision("fp16")
    assert half is not None, "fp16 is one of trtpipe's own"
    typed = task.out / "typed.onnx"
    made = rewrite_file(half, canonical, typed, keep={"fp32": keep} if keep else {})
    shares = [share for share in (made.audit.low_nodes, made.audit.low_elements) if share is not None]
    if not shares or min(shares) < _LEAST_SHARE:
        return "next to nothing of the model computes in it"
    inputs = {**task.inputs, "typed": {"": typed}}
    report = run_validation(replace(task, inputs=inputs), task.out / "validation.json")
    judgement = judge_report(report, (), half.default_thresholds)
    return judgement.problems[0].fact if judgement.problems else ""


def _glob(name: str) -> str:
    """A glob that matches this name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
