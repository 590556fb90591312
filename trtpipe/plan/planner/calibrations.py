"""The steps that produce scales, from a data set or from a calibration cache. Pure functions, no I/O."""

from __future__ import annotations

from trtpipe.calibration.caches.step_names import cache_name, cache_reading
from trtpipe.plan.address import Address, address
from trtpipe.plan.graph import FromStep, Input, Step
from trtpipe.plan.options import CacheOptions, CalibrateOptions
from trtpipe.plan.origins import PLUGIN, InSpec
from trtpipe.plan.planner.facts import MODEL_FILES, CalibrationFacts, PipelineFacts
from trtpipe.plan.planner.spec_values import data_set_origin
from trtpipe.plan.requirements import PlaceRequirements
from trtpipe.spec.pipeline import PipelineSpec


def calibrate_step(spec: PipelineSpec, facts: PipelineFacts, variant: str, canonical: Address) -> Step:
    """The scales of all tensors that any quantized precision may need, the ranges of all that may overflow, or both:
    variants share them."""
    asked, known = spec.variants[variant].calibration, facts.calibrations[variant]
    assert asked is not None
    if asked.cache is not None:
        return _cache_step(spec, known, variant, canonical)
    assert asked.data is not None, "the spec has either"
    options = _calibrate_options(spec, known, variant, asked.data)
    inputs: dict[str, tuple[Input, ...]] = {"model": (FromStep(canonical, MODEL_FILES),)}
    if known.sources:
        inputs["data"] = known.sources
    name = _calibration_name(options, asked.data)
    return Step(address("calibrate", spec.pipeline, name), options, known.tools, inputs)


def _calibrate_options(
    spec: PipelineSpec, known: CalibrationFacts, variant: str, data: str
) -> CalibrateOptions:
    asked, place = spec.variants[variant], InSpec(("variants", variant))
    assert asked.calibration is not None
    return CalibrateOptions(
        backend=asked.calibration.backend,
        backend_version=known.backend_version,
        provider=known.provider,
        data=known.record,
        samples=asked.calibration.samples,
        method=asked.method if known.scales else None,
        percentile=asked.percentile if known.scales and asked.method == "percentile" else None,
        ranges=known.ranges,
        origins={
            **place.at("calibration").each("backend", "provider", "samples"),
            **place.each("method", "percentile"),
            "backend_version": PLUGIN,
            "data": data_set_origin(data),
            "ranges": place.at("overflow"),
        },
    )


def _cache_step(spec: PipelineSpec, known: CalibrationFacts, variant: str, canonical: Address) -> Step:
    """The scales that a calibration cache has for the model's tensors."""
    asked, place = spec.variants[variant].calibration, InSpec(("variants", variant, "calibration"))
    assert asked is not None, "only a variant with a cache asks for it"
    options = CacheOptions(
        cache=cache_reading(asked),
        reader_version=known.backend_version,
        origins={"cache": place, "reader_version": PLUGIN},
    )
    inputs: dict[str, tuple[Input, ...]] = {
        "model": (FromStep(canonical, MODEL_FILES),),
        "cache": known.sources,
    }
    at = address("calibrate", spec.pipeline, cache_name(spec, asked))
    return Step(at, options, known.tools, inputs, PlaceRequirements(place.path))


def data_set_of(calibrate: Address) -> str:
    """The data set that a calibration reads, by its step's address."""
    return calibrate.variant.partition("+")[0]


def _calibration_name(options: CalibrateOptions, data: str) -> str:
    """A readable name, unique among a pipeline's calibrations; a variant's name cannot contain the plus sign."""
    parts = [data, *([options.method] if options.method else [])]
    parts += ["ranges"] if options.ranges else []
    parts += [str(number) for number in (options.percentile, options.samples) if number is not None]
    parts += [options.backend] if options.backend != "trtpipe" else []
    return "+".join(parts)
