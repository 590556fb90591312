"""What each stage but build_engine does: a few calls into the plug-in that its options name.

`build_engine` has no body here: its work is the worker's, in the toolchain's own interpreter. Of `parse` the worker
does the first half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trtpipe.stages.task import Task

MODEL = "model.onnx"
SCALES = "scales.json"
PARSED = "parsed.onnx"
GOLDEN = "golden.npz"
"""What a validation leaves for machines that have neither source nor data: the first samples and their reference."""
WORST = "worst.npz"
"""What it leaves to look at: of each place the sample with the largest error."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a body made: files by output name, and what reports say of them."""

    files: Mapping[str, Path]
    summary: Mapping[str, Any] = field(default_factory=dict)


class Plugins(Protocol):
    """How a body reaches frontends, precisions and the validator; the composition root implements it."""

    def fetch(self, task: Task) -> Made:
        """Fetch one remote file; where a model is given instead, what lies beside it."""

    def lower(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Lower a source to canonical ONNX at `out`; what the frontend reports."""

    def transform(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Apply the transform's options to a canonical model; what changed."""

    def calibrate(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Write the scales of a canonical model; what reports say of them."""

    def rewrite(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Make the typed model; types per node and the audit of it."""

    def validate(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Measure the typed model against its reference; what reports say of it."""

    def keep_parsed(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Make ONNX of the network that TensorRT's parser made; what can be said of it without data."""

    def read_back(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Measure that network against the typed model; what reports say of it."""

    def propose(self, task: Task) -> Mapping[str, Any]:
        """Measure what a precision's rounding does to a model's outputs."""

    def compare_all(self, task: Task) -> Mapping[str, Any]:
        """Compare every tensor of the typed model with the model that it was typed from."""

    def compare_network(self, task: Task) -> Mapping[str, Any]:
        """Compare every tensor of the typed model with the network that TensorRT's parser made of it."""

    def record_tensors(self, task: Task) -> Mapping[str, Any]:
        """Write the tensors of the model that was typed, on the validation data, into the task's directory."""

    def measure_part(self, task: Task) -> Mapping[str, Any]:
        """Measure a part of a typed model on such tensors."""

    def preview(self, task: Task) -> Made:
        """Look at a data set: contact sheets, and what its inputs are like."""

    def fit(self, task: Task) -> Mapping[str, Any]:
        """Run a model at the shapes of a first spec; what was seen of it."""

    def infer(self, task: Task) -> Mapping[str, Any]:
        """Run inputs through a typed model on the CPU; its outputs, in files."""

    def bench(self, task: Task) -> Made:
        """Time a typed model on the CPU."""


def _model_files(out: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(out.parent.glob(f"{out.name}*"))}


def fetch_file(task: Task, plugins: Plugins) -> Made:
    """A remote file → its bytes."""
    return plugins.fetch(task)


def import_model(task: Task, plugins: Plugins) -> Made:
    """Source → canonical ONNX."""
    out = task.out / MODEL
    summary = plugins.lower(task, out)
    return Made(_model_files(out), summary)


def transform_model(task: Task, plugins: Plugins) -> Made:
    """Canonical ONNX → canonical ONNX."""
    out = task.out / MODEL
    summary = plugins.transform(task, out)
    return Made(_model_files(out), summary)


def calibrate_model(task: Task, plugins: Plugins) -> Made:
    """Canonical ONNX and samples → scales."""
    out = task.out / SCALES
    summary = plugins.calibrate(task, out)
    return Made({out.name: out}, summary)


def quantize_model(task: Task, plugins: Plugins) -> Made:
    """Canonical ONNX → typed ONNX."""
    out = task.out / MODEL
    summary = plugins.rewrite(task, out)
    return Made(_model_files(out), summary)


def validate_model(task: Task, plugins: Plugins) -> Made:
    """Typed ONNX and its reference → measurements, and samples for those who have no reference."""
    out = task.out / "validation.json"
    summary = plugins.validate(task, out)
    kept = {path.name: path for path in sorted(task.out.glob("*.npz"))}
    return Made({out.name: out, **kept}, summary)


def keep_parsed(task: Task, plugins: Plugins) -> Made:
    """Typed ONNX and the files of a parsed network → that network as ONNX."""
    out = task.out / PARSED
    summary = plugins.keep_parsed(task, out)
    return Made({out.name: out}, summary)


def read_back(task: Task, plugins: Plugins) -> Made:
    """Typed ONNX and the network as ONNX → measurements."""
    out = task.out / "readback.json"
    summary = plugins.read_back(task, out)
    return Made({out.name: out}, summary)


def propose_thresholds(task: Task, plugins: Plugins) -> Made:
    """A model and its reference → measurements of noise. No step of a plan: nothing is built from it."""
    return Made({}, plugins.propose(task))


def preview_data(task: Task, plugins: Plugins) -> Made:
    """A data set → contact sheets and statistics. No step of a plan: nothing is built from it."""
    return plugins.preview(task)


def compare_tensors(task: Task, plugins: Plugins) -> Made:
    """Typed ONNX and what it was typed from → a comparison. No step of a plan, either."""
    return Made({}, plugins.compare_all(task))


def compare_network(task: Task, plugins: Plugins) -> Made:
    """Typed ONNX and what TensorRT's parser made of it → a comparison. No step of a plan, either."""
    return Made({}, plugins.compare_network(task))


def record_tensors(task: Task, plugins: Plugins) -> Made:
    """Typed ONNX and what it was typed from → the latter's tensors. No step of a plan."""
    return Made({}, plugins.record_tensors(task))


def measure_part(task: Task, plugins: Plugins) -> Made:
    """A part of typed ONNX and recorded tensors → measurements. No step of a plan."""
    return Made({}, plugins.measure_part(task))


def fit_model(task: Task, plugins: Plugins) -> Made:
    """Canonical ONNX → how it runs, and what of it half precision holds. No step of a plan."""
    return Made({}, plugins.fit(task))


def infer_on_cpu(task: Task, plugins: Plugins) -> Made:
    """Inputs → outputs of a typed model, on the CPU. No step of a plan either."""
    return Made({}, plugins.infer(task))


def bench_on_cpu(task: Task, plugins: Plugins) -> Made:
    """A typed model's times on the CPU. No step of a plan either."""
    return plugins.bench(task)


BODIES: Mapping[str, Callable[[Task, Plugins], Made]] = {
    "fetch": fetch_file,
    "import": import_model,
    "transform": transform_model,
    "calibrate": calibrate_model,
    "quantize": quantize_model,
    "parse": keep_parsed,
    "validate": validate_model,
    "readback": read_back,
    "propose": propose_thresholds,
    "preview": preview_data,
    "compare_all": compare_tensors,
    "compare_network": compare_network,
    "record": record_tensors,
    "measure": measure_part,
    "fit": fit_model,
    "infer": infer_on_cpu,
    "bench": bench_on_cpu,
}
