"""The steps of one variant: calibrate, search, quantize and validate. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trtpipe.plan.address import Address, address
from trtpipe.plan.graph import FromStep, Input, Step
from trtpipe.plan.options import QuantizeOptions
from trtpipe.plan.origins import CONSTANT, PLUGIN, InSpec
from trtpipe.plan.planner.calibrations import calibrate_step
from trtpipe.plan.planner.facts import MODEL_FILES, SCALES_FILE, PipelineFacts
from trtpipe.plan.planner.measures import measured_by, validate_step
from trtpipe.search.steps import CHOICE_FILE, Scope, candidates_with, search_step, subject_options
from trtpipe.spec.budget import AUTO
from trtpipe.spec.limits import Limits
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.spec.variant import VariantSpec


def variant_steps(
    spec: PipelineSpec, facts: PipelineFacts, variant: str, canonical: Address
) -> Iterator[Step]:
    """The steps that all targets of a variant share; `canonical` is the step that produces the model."""
    asked = spec.variants[variant]
    options = _quantize_options(asked, facts, InSpec(("variants", variant)))
    inputs: dict[str, tuple[Input, ...]] = {"model": (FromStep(canonical, MODEL_FILES),)}
    if variant in facts.calibrations:
        calibrate = calibrate_step(spec, facts, variant, canonical)
        yield calibrate
        inputs["scales"] = (FromStep(calibrate.address, (SCALES_FILE,)),)
    if asked.precision == AUTO:
        search = _search_step(spec, facts, variant, options, inputs)
        yield search
        inputs["choice"] = (FromStep(search.address, (CHOICE_FILE,)),)
    yield Step(address("quantize", spec.pipeline, variant), options, facts.tools["quantize"], inputs)
    if spec.validate_ is not None:
        yield validate_step(spec, facts, variant)


def _quantize_options(asked: VariantSpec, facts: PipelineFacts, place: InSpec) -> QuantizeOptions:
    return QuantizeOptions(
        precision=asked.precision,
        precision_version=_versions_of(asked, facts),
        keep={name: globs for name, globs in sorted(asked.keep.items()) if globs},
        base=asked.base,
        block_size=asked.block_size,
        io=tuple(asked.io.items()) if "convert" in asked.io.values() else (),
        overflow="refuse" if asked.overflow == "refuse" else None,
        origins={
            **place.each("precision", "keep", "base", "block_size", "io", "overflow"),
            "precision_version": PLUGIN,
            "graft": CONSTANT,
        },
    )


def _versions_of(asked: VariantSpec, facts: PipelineFacts) -> int | Mapping[str, int]:
    """The version of a variant's precision; for a searched one, those of all precisions that may be chosen."""
    if asked.precision == AUTO:
        return {one: facts.versions[one] for one in candidates_with(asked.candidates())}
    return facts.versions[asked.precision]


def _search_step(
    spec: PipelineSpec,
    facts: PipelineFacts,
    variant: str,
    quantize: QuantizeOptions,
    inputs: Mapping[str, tuple[Input, ...]],
) -> Step:
    """The step that searches an auto variant's types. Its targets share it, so all their capabilities count."""
    asked, place = spec.variants[variant], InSpec(("variants", variant))
    assert asked.budget is not None, "the loader refuses an auto variant without a budget"
    capabilities = {one for target in facts.targets.values() for one in target.compute_capabilities}
    measure, measured = measured_by(spec, facts, variant)
    fewer = place.at("budget", "samples")
    limits = Limits(asked.budget, spec.validate_.thresholds if spec.validate_ is not None else ())
    return search_step(
        address("search", spec.pipeline, variant),
        Scope(limits, asked.candidates(), sorted(capabilities)),
        subject=subject_options(quantize, measure, asked.budget.samples, fewer, corners=True),
        tools={**facts.tools["quantize"], **facts.tools["validate"]},
        inputs={**inputs, **measured},
        place=place,
    )
