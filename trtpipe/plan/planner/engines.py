"""The step that builds the engine of a cell. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from trtpipe.json_values import JsonObject
from trtpipe.plan.address import Address, address
from trtpipe.plan.graph import FromStep, Input, Step, json_ready
from trtpipe.plan.options import EngineOptions
from trtpipe.plan.origins import CONSTANT, InSpec, Nowhere, Origin, Parts
from trtpipe.plan.planner.facts import MODEL_FILES, PipelineFacts
from trtpipe.plan.planner.spec_values import PROFILES, profiles_record
from trtpipe.plan.requirements import EngineRequirements
from trtpipe.spec.pipeline import PipelineSpec

NETWORK_NAME = "trtpipe"
"""TensorRT writes the network's name into the engine; one constant keeps equal work equal."""

_LOCAL_BUILDER_FIELDS = frozenset({"time_limit", "memory_limit"})
_DRIVER = Nowhere("the driver of this machine")


@dataclass(frozen=True, slots=True)
class SharedByEngines:
    """The inputs and options that all engines of a pipeline share."""

    profiles: list[Mapping[str, JsonObject]]
    builder: JsonObject


def shared_by_engines(spec: PipelineSpec) -> SharedByEngines:
    """Computed once per pipeline, because it may have many cells."""
    builder = json_ready(spec.builder.model_dump(exclude=set(_LOCAL_BUILDER_FIELDS)))
    return SharedByEngines([*profiles_record(spec.profiles)], builder)


def engine_step(
    spec: PipelineSpec,
    facts: PipelineFacts,
    variant: str,
    target: str,
    shared: SharedByEngines,
    after: tuple[Address, ...] = (),
) -> Step:
    """The build step of one cell. `after` are steps that must succeed first although their outputs are not used."""
    known = facts.targets[target]
    inputs: dict[str, tuple[Input, ...]] = {
        "model": (FromStep(address("quantize", spec.pipeline, variant), MODEL_FILES),)
    }
    if facts.plugins:
        inputs["plugins"] = facts.plugins
    return Step(
        address("build_engine", spec.pipeline, variant, target),
        _engine_options(spec, facts, target, shared),
        {"toolchain": known.toolchain},
        inputs,
        EngineRequirements(spec.builder.time_limit, spec.builder.memory_limit),
        toolchain_from(spec, target),
        after,
    )


def _engine_options(
    spec: PipelineSpec, facts: PipelineFacts, target: str, shared: SharedByEngines
) -> EngineOptions:
    known, asked = facts.targets[target], spec.targets[target]
    tied = known.toolchain["flavour"] == "tensorrt"
    return EngineOptions(
        network_name=NETWORK_NAME,
        profiles=shared.profiles,
        builder=shared.builder,
        compute_capabilities=known.compute_capabilities,
        gpu=dict(known.gpu) if tied else None,
        hardware_compatibility=asked.hardware_compatibility if tied else None,
        version_compatible=asked.version_compatible if tied else None,
        origins=_origins_of(target),
    )


@lru_cache(maxsize=1 << 12)  # the cells of a plan have few targets, and each origin is a value
def _origins_of(target: str) -> Mapping[str, Origin | Parts]:
    place = InSpec(("targets", target))
    gpu = place.at("gpu")
    return {
        **place.each("hardware_compatibility", "version_compatible"),
        "network_name": CONSTANT,
        "profiles": PROFILES,
        "builder": InSpec(("builder",)),
        "compute_capabilities": gpu,
        "gpu": Parts(gpu, {"driver_cuda_major": _DRIVER}),
    }


def toolchain_from(spec: PipelineSpec, target: str) -> Parts:
    """The origin of a target's toolchain: the section with its name, or the target itself if it has no name."""
    return _toolchain_from(spec.targets[target].toolchain, target)


@lru_cache(maxsize=1 << 12)
def _toolchain_from(named: str | None, target: str) -> Parts:
    place = InSpec(("targets", target))
    described = InSpec(("toolchains", named)) if named is not None else place.at("toolchain")
    return Parts(place.at("toolchain"), {"toolchain": described})
