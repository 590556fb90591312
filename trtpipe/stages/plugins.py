"""The plug-ins that a stage's body reaches for, as installed with trtpipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.json_values import JsonObject
from trtpipe.plan.child_reports import SampleCount
from trtpipe.plan.options import (
    CacheOptions,
    CalibrateOptions,
    ImportOptions,
    QuantizeOptions,
    TransformOptions,
    calibrating,
)
from trtpipe.spec.budget import AUTO
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.stages.bodies import Made
from trtpipe.stages.task import Task

if TYPE_CHECKING:
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.datasets.samples.batches import Dataset


class InstalledPlugins:
    """Frontends and precisions by their files' names; the transform and the validator."""

    def fetch(self, task: Task) -> Made:
        """Fetch one remote file; where a model is given instead, what lies beside it."""
        from trtpipe.spec.remote import RemoteFile

        if "source" in task.inputs:
            from trtpipe.canonical.reader import external_locations

            return Made({}, {"beside": external_locations(task.input("source"))})
        from trtpipe.fetch import download

        remote, place = RemoteFile.from_json(task.local["file"]), tuple(task.local["place"])
        with _events(task) as say:
            found = download(remote, task.out, lambda report: say(report.to_json()), path=place)
        return Made({"file": found.path}, {"sha256": found.sha256, **found.facts})

    def lower(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Lower a source to canonical ONNX at `out`; what the frontend reports."""
        from trtpipe.frontends import ModelFiles, frontend_called, lower_model

        asked = ImportOptions.from_record(task.options)
        frontend = frontend_called(asked.parser)
        source = _source(task, asked)
        named = dict(task.inputs.get("files", {}))
        files = ModelFiles(source, named, _root(task, source))
        options = frontend.Options.model_validate(asked.options)
        return lower_model(frontend, files, options, out).to_json()

    def transform(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Apply the transform's options to a canonical model; what changed."""
        from trtpipe.stages.transforms import transform_model

        named = dict(task.inputs.get("files", {}))
        root = Path(task.local["root"]).resolve() if "root" in task.local else None
        options = TransformOptions.from_record(task.options)
        return {"changes": transform_model(task.input("model"), out, options, named, root).to_json()}

    def calibrate(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Write the scales of a canonical model; what reports say of them."""
        options = calibrating(task.options)
        if isinstance(options, CacheOptions):
            return _from_cache(task, options, out)
        from trtpipe.calibration.calibrators import find_calibrator
        from trtpipe.calibration.calibrators.measurement.ranges import with_ranges
        from trtpipe.calibration.calibrators.measurement.report import report_of
        from trtpipe.canonical.reader import ir_model, read_skeleton
        from trtpipe.precisions.casts.overflow import tensors_to_range
        from trtpipe.precisions.quantization.places import tensors_to_scale

        calibrator = find_calibrator(options.backend)
        assert calibrator is not None, "the loader knows the backends"
        model = task.input("model")
        graph = ir_model(read_skeleton(model))
        with _events(task) as say:
            request = replace(_calibration(task, options, model, tensors_to_scale(graph)), tell=_telling(say))
            scales = calibrator.calibrate(request) if options.method else None
            if options.ranges:
                ranges, means = tensors_to_range(graph)
                scales = with_ranges(scales, replace(request, ranges=ranges, means=means))
        assert scales is not None, "a calibration is asked for scales, ranges or both"
        scales.write(out)
        return {**report_of(scales), "ranges": len(scales.ranges)}

    def rewrite(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Make the typed model; types per node and the audit of it."""
        from trtpipe.calibration.scales import read_scales
        from trtpipe.precisions import Choices, find_precision
        from trtpipe.precisions.casts.files import rewrite_file
        from trtpipe.precisions.casts.overflow import measured_of

        asked = _asked(task)
        found = find_precision(asked.precision)
        assert found is not None, f"no precision {asked.precision!r}: the loader knows them"
        amax, measured = None, None
        if "scales" in task.inputs:
            scales = read_scales(task.input("scales"))
            amax = {name: tensor.amax for name, tensor in scales.tensors.items()}
            measured = measured_of(scales)
        rewritten = rewrite_file(
            found,
            task.input("model"),
            out,
            keep=asked.keep,
            base=asked.base,
            amax=amax if found.needs_calibration else None,
            choices=Choices(measured, asked.overflow == "refuse", dict(asked.io)),
            block=asked.block_size,
        )
        return rewritten.to_json()

    def validate(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Measure the typed model against its reference; what reports say of it."""
        from trtpipe.runners.validate import run_validation

        return run_validation(task, out)

    def keep_parsed(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Make ONNX of the network that TensorRT's parser made; what can be said of it without data."""
        from trtpipe.canonical.reader import read_skeleton
        from trtpipe.networks.parsed_model import keep_parsed, keep_unreadable

        if task.local["unreadable"]:
            return keep_unreadable(task.local["unreadable"], out)
        return keep_parsed(read_skeleton(task.input("typed")).proto, task.input("parsed").parent, out)

    def read_back(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Measure that network against the typed model; what reports say of it."""
        from trtpipe.runners.readback_run import run_readback

        return run_readback(task, out)

    def propose(self, task: Task) -> Mapping[str, Any]:
        """Measure what a precision's rounding does to a model's outputs."""
        from trtpipe.runners.rounding_noise import run_proposing

        return run_proposing(task)

    def compare_all(self, task: Task) -> Mapping[str, Any]:
        """Compare every tensor of the typed model with the model that it was typed from."""
        from trtpipe.runners.compare_all import compare_all

        with _events(task) as say:
            return compare_all(task, lambda done, lots: say({"done": done, "lots": lots}))

    def compare_network(self, task: Task) -> Mapping[str, Any]:
        """Compare every tensor of the typed model with the network that TensorRT's parser made of it."""
        from trtpipe.runners.compare_network import compare_network

        with _events(task) as say:
            return compare_network(task, lambda done, lots: say({"done": done, "lots": lots}))

    def record_tensors(self, task: Task) -> Mapping[str, Any]:
        """Write the tensors of the model that was typed, on the validation data, into the task's directory."""
        from trtpipe.runners.partial_runs import record

        return record(task, task.out)

    def measure_part(self, task: Task) -> Mapping[str, Any]:
        """Measure a part of a typed model on such tensors."""
        from trtpipe.runners.graphs import runnable_model
        from trtpipe.runners.partial_runs import Recorded, measure

        model, recorded = runnable_model(task.input("model")), Recorded(Path(task.local["recorded"]))
        threads = task.local.get("threads", 0)
        return {"outputs": measure(model, recorded, task.options["batches"], threads)}

    def preview(self, task: Task) -> Made:
        """Look at a data set: contact sheets, and what its inputs are like."""
        from trtpipe.canonical.summary import TensorInfo
        from trtpipe.datasets import open_dataset
        from trtpipe.datasets.locations import GivenFiles
        from trtpipe.datasets.preview.look import Look

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

    def fit(self, task: Task) -> Mapping[str, Any]:
        """Run a model at the shapes of a first spec; what was seen of it."""
        from trtpipe.stages.first_runs import fit_model

        return fit_model(task).to_json()

    def infer(self, task: Task) -> Mapping[str, Any]:
        """Run inputs through a typed model on the CPU; its outputs, in files."""
        from trtpipe.runners.typed_model import infer

        return infer(task)

    def bench(self, task: Task) -> Made:
        """Time a typed model on the CPU."""
        from trtpipe.runners.benchmarks.on_cpu import bench

        return Made(*bench(task))


@contextmanager
def _events(task: Task) -> Iterator[Callable[[JsonObject], None]]:
    """Where a body says how far it is: a line of JSON a report, which the parent process reads."""
    with Path(task.local["events"]).open("a", buffering=1) as events:
        yield lambda report: print(json.dumps(report), file=events)


def _telling(say: Callable[[JsonObject], None]) -> Callable[[int, int, int], None]:
    def tell(done: int, total: int, resumed: int) -> None:
        say(SampleCount(done, total, resumed).to_json())

    return tell


def _from_cache(task: Task, options: CacheOptions, out: Path) -> Mapping[str, Any]:
    from trtpipe.stages.cache_scales import scales_from_cache

    asked = options.cache
    return scales_from_cache(
        task.input("model"),
        task.input("cache"),
        out,
        declared=asked.format,
        min_coverage=asked.min_coverage,
        rename=asked.rename,
        place=tuple(task.local["place"]),
    )


def _asked(task: Task) -> QuantizeOptions:
    """A quantize step's options; of a variant whose precision was searched for, what the search came to."""
    options = QuantizeOptions.from_record(task.options)
    if options.precision != AUTO:
        return options
    from trtpipe.search.choices import read_choice
    from trtpipe.search.steps import precisions_of, quantize_options

    return quantize_options(options, read_choice(task.input("choice"), precisions_of(options)))


def _calibration(
    task: Task, asked: CalibrateOptions, model: Path, tensors: tuple[str, ...]
) -> CalibrationRequest:
    progress = task.local.get("progress")
    return CalibrationRequest(
        model,
        tensors,
        DatasetSpec.model_validate_json(json.dumps(asked.data["spec"])),
        task.inputs.get("data", {}),
        asked.method or "max",
        asked.percentile,
        asked.samples,
        task.local.get("threads", 0),
        Path(progress) if progress else None,
        provider=asked.provider,
    )


def _misfits(data: Dataset, asked: Mapping[str, Any], inputs: Sequence[TensorInfo] | None) -> list[str]:
    """What of a data set's shapes fits no profile of a pipeline; nothing when it is looked at by itself."""
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


def _source(task: Task, asked: ImportOptions) -> Path | None:
    """The model's file or directory; None for a model that is declared in its options."""
    files = task.inputs.get("source", {})
    if not files or (f"model.{asked.parser}" not in files and not asked.directory):
        return None
    name, first = next(iter(files.items()))
    return first.parents[len(Path(name).parts) - 1] if asked.directory else first


def _root(task: Task, model: Path | None) -> Path:
    """External data stays in the project; a model from elsewhere keeps its data in its own folder."""
    root = Path(task.local["root"]).resolve()
    if model is None:
        return root
    home = model.resolve()
    return root if home.is_relative_to(root) else home.parent
