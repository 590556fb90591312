"""The steps that make scales: from a data set, or from a calibration cache. Data to data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtpipe.legacy_caches.step_names import cache_name, cache_options
from trtpipe.plan.address import Address, address
from trtpipe.plan.graph import FromStep, Input, Step
from trtpipe.plan.requirements import PlaceRequirements
from trtpipe.planning.facts import MODEL_FILES, CalibrationFacts, PipelineFacts
from trtpipe.spec.pipeline import PipelineSpec


def calibrate_step(spec: PipelineSpec, facts: PipelineFacts, variant: str, canonical: Address) -> Step:
    """The scales of all tensors that any quantized precision may ask for, the ranges of all that may overflow, or both:
    variants share them."""
    asked, known = spec.variants[variant], facts.calibrations[variant]
    assert asked.calibration is not None
    if asked.calibration.cache is not None:
        return _cache_step(spec, known, variant, canonical)
    assert asked.calibration.data is not None, "the spec has either"
    options = {
        "backend": asked.calibration.backend,
        "backend_version": known.backend_version,
        "provider": known.provider,
        "data": known.record,
        "samples": asked.calibration.samples,
        "method": asked.method if known.scales else None,
        "percentile": asked.percentile if known.scales and asked.method == "percentile" else None,
        "ranges": known.ranges,
    }
    inputs: dict[str, tuple[Input, ...]] = {"model": (FromStep(canonical, MODEL_FILES),)}
    if known.sources:
        inputs["data"] = known.sources
    name = _calibration_name(options, asked.calibration.data)
    return Step(address("calibrate", spec.pipeline, name), options, known.tools, inputs)


def _cache_step(spec: PipelineSpec, known: CalibrationFacts, variant: str, canonical: Address) -> Step:
    """The scales that a calibration cache has for the model's tensors."""
    asked = spec.variants[variant].calibration
    assert asked is not None, "only a variant with a cache asks for it"
    options = {"cache": {**known.record, **cache_options(asked)}, "reader_version": known.backend_version}
    inputs: dict[str, tuple[Input, ...]] = {
        "model": (FromStep(canonical, MODEL_FILES),),
        "cache": known.sources,
    }
    place = address("calibrate", spec.pipeline, cache_name(spec, asked))
    about = PlaceRequirements(("variants", variant, "calibration"))
    return Step(place, options, known.tools, inputs, about)


def data_set_of(calibrate: Address) -> str:
    """The data set that a calibration reads, by its step's address."""
    return calibrate.variant.partition("+")[0]


def _calibration_name(options: Mapping[str, Any], data: str) -> str:
    """What tells a pipeline's calibrations apart, for people; no variant's name has a plus sign."""
    parts = [data, *([options["method"]] if options["method"] else [])]
    parts += ["ranges"] if options["ranges"] else []
    parts += [str(options[name]) for name in ("percentile", "samples") if options[name] is not None]
    parts += [options["backend"]] if options["backend"] != "trtpipe" else []
    return "+".join(parts)
