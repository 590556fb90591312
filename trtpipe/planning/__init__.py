"""From a spec and the facts about its inputs to a plan. Data to data: it reads no file and imports no TensorRT.

One pipeline becomes, in this order:

    fetch? ── import ── transform? ──┬── calibrate? ── search? ── quantize (a variant) ──┬── build_engine (a cell)
                                     │                                                   └── validate (a variant, CPU)
    sources, data ───────────────────┴───────────────────┴──────────────────────────────────────┘

Variants that are calibrated alike share the step.

Everything before build_engine knows nothing of GPUs and is shared by all targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtpipe.plan.address import Address, Place, address
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Cell, FromStep, Input, Step, json_ready
from trtpipe.plan.requirements import (
    NOTHING_REQUIRED,
    EngineRequirements,
    FetchRequirements,
    ImportRequirements,
)
from trtpipe.planning.calibrations import calibrate_step
from trtpipe.planning.facts import (
    MODEL_FILES,
    SCALES_FILE,
    FetchFacts,
    ModelFacts,
    PipelineFacts,
)
from trtpipe.searching.steps import CHOICE_FILE, candidates_with, search_step, subject_options
from trtpipe.spec.budget import AUTO
from trtpipe.spec.pipeline import PipelineSpec, Profile, TransformSpec, ValidateSpec
from trtpipe.spec.variant import VariantSpec

NETWORK_NAME = "trtpipe"
"""TensorRT writes the network's name into the engine; one constant keeps equal work equal."""

_LOCAL_BUILDER_FIELDS = frozenset({"time_limit", "memory_limit"})


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


def steps_of(spec: PipelineSpec, facts: PipelineFacts) -> tuple[dict[Address, Step], tuple[Cell, ...]]:
    """Every step of a pipeline by address, and its cells in the spec's order."""
    steps = {step.address: step for step in _shared_steps(spec, facts)}
    transform, imported = address("transform", spec.pipeline), address("import", spec.pipeline)
    canonical = transform if transform in steps else imported
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
    asked = FetchRequirements(fetch.files, fetch.places)
    return Step(address("fetch", pipeline), options, {}, {}, asked)


def import_step(spec: PipelineSpec, model: ModelFacts) -> Step:
    """The step that makes the canonical model."""
    options = {
        "parser": spec.model.parser,
        "parser_version": model.parser_version,
        "options": dict(model.options),
    }
    if model.directory:
        options["directory"] = True
    asked = ImportRequirements(model.file_names) if model.file_names else NOTHING_REQUIRED
    return Step(address("import", spec.pipeline), options, model.tools, model.inputs, asked)


def _shared_steps(spec: PipelineSpec, facts: PipelineFacts) -> Iterator[Step]:
    pipeline = spec.pipeline
    if facts.model.fetch is not None:
        yield fetch_step(pipeline, facts.model.fetch)
    yield import_step(spec, facts.model)
    transform = transform_record(spec.transform)
    if transform:
        inputs = {"model": (FromStep(address("import", pipeline), MODEL_FILES),), **facts.graft}
        yield Step(address("transform", pipeline), transform, facts.tools["transform"], inputs)


def _variant_steps(
    spec: PipelineSpec, facts: PipelineFacts, variant: str, canonical: Address
) -> Iterator[Step]:
    asked = spec.variants[variant]
    searched = asked.precision == AUTO
    options: dict[str, Any] = {
        "precision": asked.precision,
        "precision_version": _versions_of(asked, facts),
        "keep": {name: list(globs) for name, globs in sorted(asked.keep.items()) if globs},
    }
    options |= {n: v for n, v in (("base", asked.base), ("block_size", asked.block_size)) if v is not None}
    options |= {"io": [list(one) for one in asked.io.items()]} if "convert" in asked.io.values() else {}
    options |= {"overflow": asked.overflow} if asked.overflow == "refuse" else {}
    inputs: dict[str, tuple[Input, ...]] = {"model": (FromStep(canonical, MODEL_FILES),)}
    if variant in facts.calibrations:
        calibrate = calibrate_step(spec, facts, variant, canonical)
        yield calibrate
        inputs["scales"] = (FromStep(calibrate.address, (SCALES_FILE,)),)
    if searched:
        search = _search_step(spec, facts, variant, options, inputs)
        yield search
        inputs["choice"] = (FromStep(search.address, (CHOICE_FILE,)),)
    yield Step(address("quantize", spec.pipeline, variant), options, facts.tools["quantize"], inputs)
    if spec.validate_ is not None:
        yield _validate_step(spec, facts, variant)


def _versions_of(asked: VariantSpec, facts: PipelineFacts) -> Any:
    """The version of a variant's precision; of a searched one, those of all that may be chosen."""
    if asked.precision == AUTO:
        return {one: facts.versions[one] for one in candidates_with(asked.candidates())}
    return facts.versions[asked.precision]


def _search_step(
    spec: PipelineSpec,
    facts: PipelineFacts,
    variant: str,
    quantize: Record,
    inputs: Mapping[str, tuple[Input, ...]],
) -> Step:
    """What finds an auto variant's types; its targets share it, so their capabilities count together."""
    asked = spec.variants[variant]
    assert asked.budget is not None, "the loader refuses an auto variant without a budget"
    capabilities = {one for target in facts.targets.values() for one in target.compute_capabilities}
    measure, measured = measured_by(spec, facts, variant)
    return search_step(
        address("search", spec.pipeline, variant),
        asked.budget,
        asked.candidates(),
        subject=subject_options(quantize, measure, asked.budget.samples),
        capabilities=sorted(capabilities),
        tools={**facts.tools["quantize"], **facts.tools["validate"]},
        inputs={**inputs, **measured},
        budget_path=("variants", variant, "budget"),
    )


def _validate_step(spec: PipelineSpec, facts: PipelineFacts, variant: str) -> Step:
    """Metrics only: thresholds are judged when the cell is delivered, so changing one runs nothing again."""
    options, measured = measured_by(spec, facts, variant)
    typed = {"typed": (FromStep(address("quantize", spec.pipeline, variant), MODEL_FILES),)}
    place = address("validate", spec.pipeline, variant)
    return Step(place, options, facts.tools["validate"], {**typed, **measured})


def measured_by(
    spec: PipelineSpec, facts: PipelineFacts, variant: str
) -> tuple[dict[str, Any], dict[str, tuple[Input, ...]]]:
    """What a variant's typed model is measured by: options, and inputs by slot."""
    asked = spec.validate_
    assert asked is not None
    other = asked.reference_of(variant)
    transformed = is_grafted(spec) or other is not None
    options = {
        "data": facts.data,
        "samples": asked.samples,
        "profiles": profiles_record(spec.profiles),
        "corners": asked.corners,
        "reference": _kind_of_reference(asked),
        "transform": {} if transformed else transform_record(spec.transform),
    }
    inputs = {"reference": facts.golden or _reference(spec, facts, other)}
    if facts.data_sources:
        inputs["data"] = facts.data_sources
    return options, inputs


def _kind_of_reference(asked: ValidateSpec) -> str:
    """`onnxruntime` of any model that is run in its own types: which one it is, its digest says."""
    if asked.golden is not None:
        return "golden"
    return "float64" if asked.reference == "float64" else "onnxruntime"


def _reference(spec: PipelineSpec, facts: PipelineFacts, other: str | None) -> tuple[Input, ...]:
    """What ONNX Runtime can run: another variant if one was asked for, the source, else what it was imported as.

    A grafted model is compared with what it was transformed into, before its precision was lowered: nothing else
    holds the grafted layers.
    """
    if other is not None:
        return (FromStep(address("quantize", spec.pipeline, other), MODEL_FILES),)
    if is_grafted(spec):
        return (FromStep(address("transform", spec.pipeline), MODEL_FILES),)
    if spec.model.parser == "onnx":
        return facts.model.inputs["source"]
    return (FromStep(address("import", spec.pipeline), MODEL_FILES),)


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
        "model": (FromStep(address("quantize", spec.pipeline, variant), MODEL_FILES),)
    }
    if facts.plugins:
        inputs["plugins"] = facts.plugins
    limits = EngineRequirements(spec.builder.time_limit, spec.builder.memory_limit)
    place = address("build_engine", spec.pipeline, variant, target)
    return Step(place, options, {"toolchain": known.toolchain}, inputs, limits)


def _calibrated_by(quantize: Step) -> Iterator[Address]:
    """The address of the step that makes its scales, if it takes any."""
    for ref in quantize.inputs.get("scales", ()):
        if isinstance(ref, FromStep):
            yield ref.address


def _cell(
    spec: PipelineSpec, facts: PipelineFacts, variant: str, target: str, steps: Mapping[Address, Step]
) -> Cell:
    pipeline = spec.pipeline
    quantize = address("quantize", pipeline, variant)
    made = [
        address("fetch", pipeline),
        address("import", pipeline),
        address("transform", pipeline),
        *_calibrated_by(steps[quantize]),
        address("search", pipeline, variant),
        quantize,
        address("build_engine", pipeline, variant, target),
        address("validate", pipeline, variant),
    ]
    known = facts.targets[target]
    about = {
        "precision": spec.variants[variant].precision,
        "gpu": list(spec.targets[target].gpu),
        "compute_capabilities": list(known.compute_capabilities),
        "toolchain": known.toolchain,
    }
    return Cell(
        str(Place(pipeline, variant, target)),
        pipeline,
        variant,
        target,
        {one.stage: one for one in made if one in steps},
        about,
    )
