"""Makes a plan from a spec and the facts about its inputs. Pure functions: reads no file, imports no TensorRT.

One pipeline becomes, in this order:

    fetch? ── import ── transform? ──┬── calibrate? ── search? ── quantize (a variant)
    sources, data ───────────────────┴──────┴────────────┘            │
                                                                      ├── build_engine (a cell)
                                                                      ├── parse (a variant and a toolchain) ──┐
                                                                      └── validate (a variant, CPU) ── readback (CPU)

Variants with the same calibration share the calibrate step.

Everything before build_engine is independent of GPUs and shared by all targets; parse and readback are shared by the
targets of one toolchain. build_engine waits for parse, so that a model that the parser rejects is reported once and not
for every target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trtpipe.plan.address import Address, Place, address
from trtpipe.plan.graph import Cell, FromStep, Step
from trtpipe.plan.planner.engines import engine_step, shared_by_engines
from trtpipe.plan.planner.facts import PipelineFacts
from trtpipe.plan.planner.joints import joined_steps
from trtpipe.plan.planner.measures import measured_by
from trtpipe.plan.planner.models import fetch_step, import_step, shared_steps
from trtpipe.plan.planner.networks import parse_step, readback_step, toolchain_names
from trtpipe.plan.planner.spec_values import profiles_record, transform_options
from trtpipe.plan.planner.variants import variant_steps
from trtpipe.spec.pipeline import PipelineSpec

__all__ = [
    "fetch_step",
    "import_step",
    "joined_steps",
    "measured_by",
    "profiles_record",
    "steps_of",
    "transform_options",
]


def steps_of(spec: PipelineSpec, facts: PipelineFacts) -> tuple[dict[Address, Step], tuple[Cell, ...]]:
    """Every step of a pipeline by address, and its cells in the spec's order."""
    steps = {step.address: step for step in shared_steps(spec, facts)}
    transform, imported = address("transform", spec.pipeline), address("import", spec.pipeline)
    canonical = transform if transform in steps else imported
    shared, toolchains = shared_by_engines(spec), toolchain_names(facts)
    cells = []
    for variant in spec.variants:
        for step in variant_steps(spec, facts, variant, canonical):
            steps[step.address] = step
        for target in spec.targets:
            toolchain = toolchains[target]
            parse = address("parse", spec.pipeline, variant, toolchain)
            if parse not in steps:
                for step in _network_steps(spec, facts, variant, target, toolchain):
                    steps[step.address] = step
            step = engine_step(spec, facts, variant, target, shared, (parse,))
            steps[step.address] = step
            cells.append(_cell(spec, facts, variant, target, toolchain, steps))
    return steps, tuple(cells)


def _network_steps(
    spec: PipelineSpec, facts: PipelineFacts, variant: str, target: str, toolchain: str
) -> Iterator[Step]:
    yield parse_step(spec, facts, variant, target, toolchain)
    readback = readback_step(spec, facts, variant, toolchain)
    if readback is not None:
        yield readback


def _calibrated_by(quantize: Step) -> Iterator[Address]:
    """The address of the step that produces the variant's scales, if it uses any."""
    for ref in quantize.inputs.get("scales", ()):
        if isinstance(ref, FromStep):
            yield ref.address


def _cell(
    spec: PipelineSpec,
    facts: PipelineFacts,
    variant: str,
    target: str,
    toolchain: str,
    steps: Mapping[Address, Step],
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
        address("parse", pipeline, variant, toolchain),
        address("build_engine", pipeline, variant, target),
        address("validate", pipeline, variant),
        address("readback", pipeline, variant, toolchain),
    ]
    known = facts.targets[target]
    about = {
        "precision": spec.variants[variant].precision,
        "gpu": list(spec.targets[target].gpu),
        "compute_capabilities": list(known.compute_capabilities),
        "toolchain": known.toolchain,
        "python": known.found.python_version,
    }
    return Cell(
        str(Place(pipeline, variant, target)),
        pipeline,
        variant,
        target,
        {one.stage: one for one in made if one in steps},
        about,
    )
