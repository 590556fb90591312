"""Work that runs in a stage's process but is no step of a plan: nothing is built from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.plan.task import Made, Task
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.stages.plan_stages import events_of

if TYPE_CHECKING:
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.datasets.samples.batches import Dataset


def propose_thresholds(task: Task) -> Made:
    """A model and its reference → how a precision's rounding changes the outputs."""
    from trtpipe.runners.rounding.rounding_noise import run_proposing

    return Made({}, run_proposing(task))


def compare_tensors(task: Task) -> Made:
    """Typed ONNX and what it was typed from → a comparison of every tensor."""
    from trtpipe.runners.comparison.compare_all import compare_all

    with events_of(task) as say:
        return Made({}, compare_all(task, lambda done, lots: say({"done": done, "lots": lots})))


def compare_with_network(task: Task) -> Made:
    """Typed ONNX and the network that TensorRT's parser made of it → a comparison of every tensor."""
    from trtpipe.runners.comparison.compare_network import compare_network

    with events_of(task) as say:
        return Made({}, compare_network(task, lambda done, lots: say({"done": done, "lots": lots})))


def record_tensors(task: Task) -> Made:
    """Typed ONNX and what it was typed from → the latter's tensors on the validation data, in files."""
    from trtpipe.runners.comparison.partial_runs import record

    return Made({}, record(task, task.out))


def measure_part(task: Task) -> Made:
    """A part of typed ONNX and recorded tensors → measurements."""
    from trtpipe.runners.comparison.partial_runs import Recorded, measure
    from trtpipe.runners.cpu.graphs import runnable_model

    model, recorded = runnable_model(task.input("model")), Recorded(Path(task.local["recorded"]))
    threads = task.local.get("threads", 0)
    return Made({}, {"outputs": measure(model, recorded, task.options["batches"], threads)})


def fit_model(task: Task) -> Made:
    """Canonical ONNX at the shapes of a first spec → how it runs, and what half precision can hold."""
    from trtpipe.stages.first_runs import fit_model

    return Made({}, fit_model(task).to_json())


def infer_on_cpu(task: Task) -> Made:
    """Inputs → outputs of a typed model on the CPU, in files."""
    from trtpipe.runners.inference.typed_model import infer

    return Made({}, infer(task))


def preview_data(task: Task) -> Made:
    """A data set → contact sheets, and statistics of its inputs."""
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.datasets.locations import GivenFiles
    from trtpipe.datasets.preview.look import Look
    from trtpipe.datasets.samples.batches import open_dataset

    asked = task.options
    spec = DatasetSpec.model_validate_json(json.dumps(asked["spec"]))
    inputs = asked["inputs"]
    if inputs is not None:
        inputs = [TensorInfo(name, dtype, dims and tuple(dims)) for name, dtype, dims in inputs]
    files = GivenFiles(task.inputs.get("data", {}))
    with open_dataset(spec, files, inputs, samples=asked["samples"]) as data:
        look = Look(data, asked["shown"], _misfits(data, asked, inputs))
        look.run()
    sheets = look.write_sheets(task.out) if asked["shown"] else {}
    return Made(sheets, look.to_json())


def bench_on_cpu(task: Task) -> Made:
    """A typed model → its times on the CPU."""
    from trtpipe.runners.benchmarks.on_cpu import bench

    return Made(*bench(task))


def _misfits(data: Dataset, asked: Mapping[str, Any], inputs: Sequence[TensorInfo] | None) -> list[str]:
    """The shapes of a data set that fit no profile of a pipeline; none when it is previewed on its own."""
    from trtpipe.proofs.samples import prove_samples
    from trtpipe.spec.pipeline import ProfileInput

    if inputs is None:
        return []
    profiles = tuple(
        {name: ProfileInput.model_validate_json(json.dumps(entry)) for name, entry in profile.items()}
        for profile in asked["profiles"]
    )
    shapes = data.shapes_by_sample()
    names = [sample for _, sample in shapes] if data.has_names else []
    found = prove_samples([batch for batch, _ in shapes], inputs, profiles, data=asked["name"], samples=names)
    return [problem.fact for problem in found]
