"""From a spec and the facts about its inputs to a plan. Data to data: it reads no file and imports no TensorRT.

One pipeline becomes, in this order:

    fetch? ── import ── transform? ──┬── calibrate? ── quantize (a variant) ──┬── build_engine (a cell)
                                     │                                        └── validate (a variant, on the CPU)
    sources, data ───────────────────┴────────────────────────────────────────────────┘

Variants that are calibrated alike share the step.

Everything before build_engine knows nothing of GPUs and is shared by all targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trtpipe.errors import SpecPath
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Cell, FromStep, Input, Source, Stage, Step, json_ready
from trtpipe.spec.pipeline import GoldenReference, PipelineSpec, Profile, TransformSpec
from trtpipe.spec.remote import RemoteFile

MODEL_FILES = ("model.onnx", "model.onnx.data")
"""What a stage that yields a model yields: the graph and, for a big one, its weights."""

SCALES_FILE = "scales.json"
"""What calibrating yields."""

NETWORK_NAME = "trtpipe"
"""TensorRT writes the network's name into the engine; one constant keeps equal work equal."""

_LOCAL_BUILDER_FIELDS = frozenset({"time_limit", "memory_limit"})


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What a target came to: compute capabilities (`sm89`), the toolchain's identity, and where it is here."""

    compute_capabilities: tuple[str, ...]
    toolchain: Record
    gpu: Record = field(default_factory=dict)
    """Flavour tensorrt: the GPU's identity at the compatibility level that the target asks for."""
    local: Record = field(default_factory=dict)


SOURCE_FOLDER, FILES_FOLDER = "source/", "files/"
"""Where a fetch step's outputs lie: the model and what lies beside it; what the options name, by place."""


@dataclass(frozen=True, slots=True)
class FetchFacts:
    """What is to be fetched: output name → remote file, and its path in the spec.

    `beside` says whether the model may refer to files beside it, which are then fetched too; `pins` holds the SHA-256
    of some of them by name.
    """

    files: Mapping[str, RemoteFile]
    places: Mapping[str, SpecPath] = field(default_factory=dict)
    beside: bool = False
    pins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What importing a pipeline's model depends on."""

    inputs: Mapping[str, tuple[Input, ...]]
    """`source` (the model, then what lies beside it) and `files` (what the options name); slots may be left out."""
    options: Record
    """The parser's options after defaults."""
    parser_version: int
    tools: Record
    """Package versions that can change the result."""
    directory: bool = False
    """Whether the source is a directory, and `source` its files."""
    local: Record = field(default_factory=dict)
    fetch: FetchFacts | None = None
    """What a fetch step brings first; None where all files are on this machine."""

    def files(self) -> Iterator[Source]:
        """Those files that are on this machine."""
        for refs in self.inputs.values():
            yield from (ref for ref in refs if isinstance(ref, Source))


@dataclass(frozen=True, slots=True)
class CalibrationFacts:
    """What a variant's scales depend on beside the model and the method."""

    record: Record
    """The data set's spec after defaults."""
    sources: tuple[Source, ...]
    backend_version: int
    tools: Record
    """Package versions that can change the scales."""
    scales: bool = True
    """Whether scales are asked for."""
    ranges: bool = False
    """Whether the ranges of all float tensors are."""


@dataclass(frozen=True, slots=True)
class PipelineFacts:
    """Everything a plan needs to know that the spec does not say."""

    model: ModelFacts
    tools: Mapping[str, Record]
    """Stage → package versions that can change its result."""
    versions: Mapping[str, int]
    """Each precision's name → the plug-in's version."""
    targets: Mapping[str, TargetFacts]
    data: Record | None = None
    """The validation set's record: its spec after defaults, or `random`."""
    data_sources: tuple[Source, ...] = ()
    golden: tuple[Source, ...] = ()
    plugins: tuple[Source, ...] = ()
    graft: Mapping[str, tuple[Input, ...]] = field(default_factory=dict)
    """`files`: what the transform's graft names; `beside`: what belongs to those files."""
    local: Record = field(default_factory=dict)
    calibrations: Mapping[str, CalibrationFacts] = field(default_factory=dict)
    """By variant."""


def profiles_record(profiles: tuple[Profile, ...]) -> list[dict[str, Any]]:
    """Profiles as JSON: input → min, opt and max shapes, or values."""
    return [{name: _entry(entry) for name, entry in sorted(profile.items())} for profile in profiles]


def _entry(entry: Any) -> dict[str, Any]:
    return dict(json_ready(entry.model_dump(exclude_none=True)))


def transform_record(transform: TransformSpec | None) -> dict[str, Any]:
    """The transform as JSON; empty when nothing would change."""
    if transform is None:
        return {}
    record: dict[str, Any] = json_ready(transform.model_dump())
    return {name: value for name, value in record.items() if value not in (None, [], {}, False)}


def is_grafted(spec: PipelineSpec) -> bool:
    """Whether the transform puts layers into the model."""
    return spec.transform is not None and spec.transform.graft is not None


def steps_of(spec: PipelineSpec, facts: PipelineFacts) -> tuple[dict[str, Step], tuple[Cell, ...]]:
    """Every step of a pipeline by address, and its cells in the spec's order."""
    steps = {step.address: step for step in _shared_steps(spec, facts)}
    canonical = (
        f"{spec.pipeline}:transform" if f"{spec.pipeline}:transform" in steps else f"{spec.pipeline}:import"
    )
    engine_options = _engine_options(spec)
    cells = []
    for variant in spec.variants:
        for step in _variant_steps(spec, facts, variant, canonical):
            steps[step.address] = step
        for target in spec.targets:
            step = _engine_step(spec, facts, variant, target, engine_options)
            steps[step.address] = step
            cells.append(_cell(spec, facts, variant, target, steps))
    return steps, tuple(cells)


def fetch_step(pipeline: str, fetch: FetchFacts) -> Step:
    """The step that fetches what is remote. Its key holds addresses and pins, and no credentials."""
    options = {
        "files": {
            name: {**file.identity(), "sha256": file.sha256 or None} for name, file in fetch.files.items()
        },
        "beside": fetch.beside,
        "pins": {name: pin.lower() for name, pin in sorted(fetch.pins.items())},
    }
    local = {
        "files": {name: file.to_json() for name, file in fetch.files.items()},
        "places": {name: list(path) for name, path in fetch.places.items()},
    }
    return Step(f"{pipeline}:fetch", "fetch", options, {}, {}, local)


def import_step(spec: PipelineSpec, model: ModelFacts) -> Step:
    """The step that makes the canonical model."""
    options = {
        "parser": spec.model.parser,
        "parser_version": model.parser_version,
        "options": dict(model.options),
    }
    if model.directory:
        options["directory"] = True
    return Step(f"{spec.pipeline}:import", "import", options, model.tools, model.inputs, model.local)


def _shared_steps(spec: PipelineSpec, facts: PipelineFacts) -> Iterator[Step]:
    pipeline = spec.pipeline
    if facts.model.fetch is not None:
        yield fetch_step(pipeline, facts.model.fetch)
    yield import_step(spec, facts.model)
    transform = transform_record(spec.transform)
    if transform:
        inputs = {"model": (FromStep(f"{pipeline}:import", MODEL_FILES),), **facts.graft}
        local = facts.local if facts.graft else {}
        yield Step(f"{pipeline}:transform", "transform", transform, facts.tools["transform"], inputs, local)


def _variant_steps(spec: PipelineSpec, facts: PipelineFacts, variant: str, canonical: str) -> Iterator[Step]:
    asked = spec.variants[variant]
    options = {
        "precision": asked.precision,
        "precision_version": facts.versions[asked.precision],
        "keep": {name: list(globs) for name, globs in sorted(asked.keep.items()) if globs},
    }
    options |= {n: v for n, v in (("base", asked.base), ("block_size", asked.block_size)) if v is not None}
    options |= {"overflow": asked.overflow} if asked.overflow == "refuse" else {}
    address = f"{spec.pipeline}/{variant}:quantize"
    inputs: dict[str, tuple[Input, ...]] = {"model": (FromStep(canonical, MODEL_FILES),)}
    if variant in facts.calibrations:
        calibrate = _calibrate_step(spec, facts, variant, canonical)
        yield calibrate
        inputs["scales"] = (FromStep(calibrate.address, (SCALES_FILE,)),)
    yield Step(address, "quantize", options, facts.tools["quantize"], inputs)
    if spec.validate_ is not None:
        yield _validate_step(spec, facts, variant)


def _calibrate_step(spec: PipelineSpec, facts: PipelineFacts, variant: str, canonical: str) -> Step:
    """The scales of all tensors that any quantized precision may ask for, the ranges of all that may overflow, or both:
    variants share them."""
    asked, known = spec.variants[variant], facts.calibrations[variant]
    assert asked.calibration is not None
    options = {
        "backend": asked.calibration.backend,
        "backend_version": known.backend_version,
        "data": known.record,
        "samples": asked.calibration.samples,
        "method": asked.method if known.scales else None,
        "percentile": asked.percentile if known.scales and asked.method == "percentile" else None,
        "ranges": known.ranges,
    }
    inputs: dict[str, tuple[Input, ...]] = {"model": (FromStep(canonical, MODEL_FILES),)}
    if known.sources:
        inputs["data"] = known.sources
    address = f"{spec.pipeline}/{_calibration_name(options, asked.calibration.data)}:calibrate"
    return Step(address, "calibrate", options, known.tools, inputs, facts.local)


def _calibration_name(options: Mapping[str, Any], data: str) -> str:
    """What tells a pipeline's calibrations apart, for people; no variant's name has a plus sign."""
    parts = [data, *([options["method"]] if options["method"] else [])]
    parts += ["ranges"] if options["ranges"] else []
    parts += [str(options[name]) for name in ("percentile", "samples") if options[name] is not None]
    parts += [options["backend"]] if options["backend"] != "trtpipe" else []
    return "+".join(parts)


def _validate_step(spec: PipelineSpec, facts: PipelineFacts, variant: str) -> Step:
    """Metrics only: thresholds are judged when the cell is delivered, so changing one runs nothing again."""
    asked = spec.validate_
    assert asked is not None
    options = {
        "data": facts.data,
        "samples": asked.samples,
        "profiles": profiles_record(spec.profiles),
        "corners": asked.corners,
        "reference": "golden" if isinstance(asked.reference, GoldenReference) else "onnxruntime",
        "transform": {} if is_grafted(spec) else transform_record(spec.transform),
    }
    inputs: dict[str, tuple[Input, ...]] = {
        "typed": (FromStep(f"{spec.pipeline}/{variant}:quantize", MODEL_FILES),),
        "reference": facts.golden or _reference(spec, facts),
    }
    if facts.data_sources:
        inputs["data"] = facts.data_sources
    return Step(
        f"{spec.pipeline}/{variant}:validate",
        "validate",
        options,
        facts.tools["validate"],
        inputs,
        facts.local,
    )


def _reference(spec: PipelineSpec, facts: PipelineFacts) -> tuple[Input, ...]:
    """What ONNX Runtime can run: the source itself, else what it was imported as.

    A grafted model is compared with what it was transformed into, before its precision was lowered: nothing else
    holds the grafted layers.
    """
    if is_grafted(spec):
        return (FromStep(f"{spec.pipeline}:transform", MODEL_FILES),)
    if spec.model.parser == "onnx":
        return facts.model.inputs["source"]
    return (FromStep(f"{spec.pipeline}:import", MODEL_FILES),)


def _engine_options(spec: PipelineSpec) -> dict[str, Any]:
    builder = json_ready(spec.builder.model_dump(exclude=set(_LOCAL_BUILDER_FIELDS)))
    return {
        "network_name": NETWORK_NAME,
        "profiles": profiles_record(spec.profiles),
        "builder": builder,
    }


def _engine_step(spec: PipelineSpec, facts: PipelineFacts, variant: str, target: str, shared: Record) -> Step:
    known, asked = facts.targets[target], spec.targets[target]
    options = {**shared, "compute_capabilities": list(known.compute_capabilities)}
    if known.toolchain["flavour"] == "tensorrt":
        options |= {
            "gpu": dict(known.gpu),
            "hardware_compatibility": asked.hardware_compatibility,
            "version_compatible": asked.version_compatible,
        }
    inputs: dict[str, tuple[Input, ...]] = {
        "model": (FromStep(f"{spec.pipeline}/{variant}:quantize", MODEL_FILES),)
    }
    if facts.plugins:
        inputs["plugins"] = facts.plugins
    limits = {"time_limit": spec.builder.time_limit, "memory_limit": spec.builder.memory_limit}
    return Step(
        f"{spec.pipeline}/{variant}@{target}:build_engine",
        "build_engine",
        options,
        {"toolchain": known.toolchain},
        inputs,
        {**known.local, **limits},
    )


def _calibrated_by(quantize: Step) -> str:
    """The address of the step that makes its scales; empty when it takes none."""
    refs = quantize.inputs.get("scales", ())
    return next((ref.address for ref in refs if isinstance(ref, FromStep)), "")


def _cell(
    spec: PipelineSpec, facts: PipelineFacts, variant: str, target: str, steps: Mapping[str, Step]
) -> Cell:
    pipeline = spec.pipeline
    stages: dict[Stage, str] = {
        "fetch": f"{pipeline}:fetch",
        "import": f"{pipeline}:import",
        "transform": f"{pipeline}:transform",
        "calibrate": _calibrated_by(steps[f"{pipeline}/{variant}:quantize"]),
        "quantize": f"{pipeline}/{variant}:quantize",
        "build_engine": f"{pipeline}/{variant}@{target}:build_engine",
        "validate": f"{pipeline}/{variant}:validate",
    }
    known = facts.targets[target]
    about = {
        "precision": spec.variants[variant].precision,
        "gpu": list(spec.targets[target].gpu),
        "compute_capabilities": list(known.compute_capabilities),
        "toolchain": known.toolchain,
    }
    return Cell(
        f"{pipeline}/{variant}@{target}",
        pipeline,
        variant,
        target,
        {stage: address for stage, address in stages.items() if address in steps},
        about,
    )
