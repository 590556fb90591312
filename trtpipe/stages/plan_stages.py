"""The stages of a plan, each a function from a task to its result.

`build_engine` is not here: the worker does it, in the toolchain's own interpreter, and also the first half of `parse`.
What a stage needs is imported when it runs, because a process runs only one of them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
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
from trtpipe.plan.task import MODEL, PARSED, SCALES, Made, Task
from trtpipe.spec.budget import AUTO
from trtpipe.spec.dataset import DatasetSpec

if TYPE_CHECKING:
    from trtpipe.precisions.casts.files import TypedModel


def fetch_file(task: Task) -> Made:
    """A remote file → its bytes; if a model file is given instead, the files that lie beside it."""
    from trtpipe.spec.remote import RemoteFile

    if "source" in task.inputs:
        from trtpipe.canonical.reader import external_locations

        return Made({}, {"beside": external_locations(task.input("source"))})
    from trtpipe.fetch import download

    remote, place = RemoteFile.from_json(task.local["file"]), tuple(task.local["place"])
    with events_of(task) as say:
        found = download(remote, task.out, lambda report: say(report.to_json()), path=place)
    return Made({"file": found.path}, {"sha256": found.sha256, **found.facts})


def import_model(task: Task) -> Made:
    """Source → canonical ONNX."""
    from trtpipe.frontends import ModelFiles, frontend_called, lower_model

    asked = ImportOptions.from_record(task.options)
    frontend = frontend_called(asked.parser)
    source = _source(task, asked)
    named = dict(task.inputs.get("files", {}))
    files = ModelFiles(source, named, _root(task, source))
    options = frontend.Options.model_validate(asked.options)
    out = task.out / MODEL
    summary = lower_model(frontend, files, options, out).to_json()
    return Made(_model_files(out), summary)


def transform_model(task: Task) -> Made:
    """Canonical ONNX → canonical ONNX."""
    out = task.out / MODEL
    summary = transform_to(task, out)
    return Made(_model_files(out), summary)


def transform_to(task: Task, out: Path) -> dict[str, Any]:
    """Write the transformed model to a file; returns what changed."""
    from trtpipe.stages.transforms import transform_model as transform

    named = dict(task.inputs.get("files", {}))
    root = Path(task.local["root"]).resolve() if "root" in task.local else None
    options = TransformOptions.from_record(task.options)
    return {"changes": transform(task.input("model"), out, options, named, root).to_json()}


def calibrate_model(task: Task) -> Made:
    """Canonical ONNX and samples, or a calibration cache → scales."""
    out = task.out / SCALES
    options = calibrating(task.options)
    summary = (
        _from_cache(task, options, out)
        if isinstance(options, CacheOptions)
        else _measured(task, options, out)
    )
    return Made({out.name: out}, summary)


def _measured(task: Task, options: CalibrateOptions, out: Path) -> Mapping[str, Any]:
    """Write the scales that a calibrator measures."""
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
    with events_of(task) as say:
        request = replace(_calibration(task, options, model, tensors_to_scale(graph)), tell=_telling(say))
        scales = calibrator.calibrate(request) if options.method else None
        if options.ranges:
            ranges, means = tensors_to_range(graph)
            scales = with_ranges(scales, replace(request, ranges=ranges, means=means))
    assert scales is not None, "a calibration is asked for scales, ranges or both"
    scales.write(out)
    return {**report_of(scales), "ranges": len(scales.ranges)}


def quantize_model(task: Task) -> Made:
    """Canonical ONNX → typed ONNX."""
    typed = typed_of(task)
    write_typed(task, typed)
    return Made(_model_files(task.out / MODEL), typed.to_json())


def typed_of(task: Task) -> TypedModel:
    """The typed model of a quantize task, not yet written."""
    from trtpipe.calibration.scales import read_scales
    from trtpipe.precisions import Choices, find_precision
    from trtpipe.precisions.casts.files import typed_model
    from trtpipe.precisions.casts.overflow import measured_of

    asked = _asked(task)
    found = find_precision(asked.precision)
    assert found is not None, f"no precision {asked.precision!r}: the loader knows them"
    amax, measured = None, None
    if "scales" in task.inputs:
        scales = read_scales(task.input("scales"))
        amax = {name: tensor.amax for name, tensor in scales.tensors.items()}
        measured = measured_of(scales)
    choices = Choices(
        measured,
        asked.overflow == "refuse",
        dict(asked.io),
        asked.base,
        amax if found.needs_calibration else None,
        asked.block_size,
    )
    return typed_model(found, task.input("model"), keep=asked.keep, choices=choices)


def write_typed(task: Task, typed: TypedModel) -> None:
    """Writes the typed model of a quantize task."""
    from trtpipe.stages.transforms import graft_of

    with tempfile.TemporaryDirectory(prefix=".graft-", dir=task.out) as workplace:
        typed.write(task.out / MODEL, graft_of(_asked(task).graft, {}, None, Path(workplace)))


def validate_model(task: Task) -> Made:
    """Typed ONNX and its reference → measurements, and recorded samples for machines without the reference.

    The same for a bundle, whose members are run as a whole: their typed models, or for a proof their engines.
    """
    out = task.out / "validation.json"
    if "engines" in task.local:
        from trtpipe.runners.bundles.engines import run_engines

        summary = run_engines(task, out)
    elif "members" in task.options:
        from trtpipe.runners.bundles.whole import run_whole

        summary = run_whole(task, out)
    else:
        from trtpipe.runners.validation.validate import run_validation

        summary = run_validation(task, out)
    kept = {path.name: path for path in sorted(task.out.glob("*.npz"))}
    return Made({out.name: out, **kept}, summary)


def keep_parsed(task: Task) -> Made:
    """Typed ONNX and the files of the network that TensorRT's parser made → that network as ONNX."""
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.networks import parsed_model

    out = task.out / PARSED
    if task.local["unreadable"]:
        return Made({out.name: out}, parsed_model.keep_unreadable(task.local["unreadable"], out))
    typed = read_skeleton(task.input("typed")).proto
    return Made({out.name: out}, parsed_model.keep_parsed(typed, task.input("parsed").parent, out))


def read_back(task: Task) -> Made:
    """Typed ONNX and the network as ONNX → measurements."""
    from trtpipe.runners.comparison.readback_run import run_readback

    out = task.out / "readback.json"
    summary = run_readback(task, out)
    return Made({out.name: out}, summary)


@contextmanager
def events_of(task: Task) -> Iterator[Callable[[JsonObject], None]]:
    """The file for progress reports: one line of JSON each, which the parent process reads."""
    with Path(task.local["events"]).open("a", buffering=1) as events:
        yield lambda report: print(json.dumps(report), file=events)


def _model_files(out: Path) -> dict[str, Path]:
    """A model and the files of its weights."""
    return {path.name: path for path in sorted(out.parent.glob(f"{out.name}*"))}


def _telling(say: Callable[[JsonObject], None]) -> Callable[[int, int, int], None]:
    def tell(done: int, total: int, resumed: int) -> None:
        say(SampleCount(done, total, resumed).to_json())

    return tell


def _from_cache(task: Task, options: CacheOptions, out: Path) -> Mapping[str, Any]:
    from trtpipe.stages.cache_scales import CacheUse, scales_from_cache

    asked = options.cache
    return scales_from_cache(
        task.input("model"),
        task.input("cache"),
        out,
        CacheUse(asked.format, asked.min_coverage, asked.rename),
        tuple(task.local["place"]),
    )


def _asked(task: Task) -> QuantizeOptions:
    """A quantize step's options; if the precision was searched for, with the search's result."""
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


def _source(task: Task, asked: ImportOptions) -> Path | None:
    """The model's file or directory; None for a model that is declared in its options."""
    files = task.inputs.get("source", {})
    if not files or (f"model.{asked.parser}" not in files and not asked.directory):
        return None
    name, first = next(iter(files.items()))
    return first.parents[len(Path(name).parts) - 1] if asked.directory else first


def _root(task: Task, model: Path | None) -> Path:
    """The folder that external data must be in: the project, or for a model from elsewhere the model's own folder."""
    root = Path(task.local["root"]).resolve()
    if model is None:
        return root
    home = model.resolve()
    return root if home.is_relative_to(root) else home.parent
