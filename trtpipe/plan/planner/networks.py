"""The steps that parse a typed model with TensorRT and check the resulting network. Pure functions, no I/O.

`parse` belongs to a toolchain: the network is the same for all GPUs that one TensorRT builds for, so all targets of a
toolchain share the step. The input of `readback` is the network as ONNX, without the version of TensorRT that parsed
it: where two toolchains produce the same network, it runs once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from trtpipe.digests import key_of
from trtpipe.plan.address import address
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import FromStep, Input, Step
from trtpipe.plan.options import ParseOptions, ReadbackOptions
from trtpipe.plan.origins import CONSTANT, PACKAGE, Parts
from trtpipe.plan.planner.engines import toolchain_from
from trtpipe.plan.planner.facts import MODEL_FILES, PipelineFacts
from trtpipe.plan.planner.measures import measured_by
from trtpipe.plan.requirements import EngineRequirements
from trtpipe.spec.pipeline import PipelineSpec

NETWORK_FILES = ("parsed.onnx", "parsed.weights")
"""What readback takes of a parsed network."""
TYPED_OUTPUTS = ("typed.npz",)
"""What validate leaves of the typed model's outputs."""


def toolchain_names(facts: PipelineFacts) -> Mapping[str, str]:
    """Target → the name of its toolchain; the interpreter is part of the name if the keys differ only in it."""
    found = {target: known.toolchain for target, known in facts.targets.items()}
    different = {key_of(one): one for one in found.values()}
    plain = Counter(map(_plain_name, different.values()))
    return {target: _name_of(one, plain[_plain_name(one)] > 1) for target, one in found.items()}


def _plain_name(toolchain: Record) -> str:
    return f"{toolchain['flavour']}-{toolchain['version']}"


def _name_of(toolchain: Record, with_python: bool) -> str:
    plain = _plain_name(toolchain)
    python = toolchain.get("python", "")
    return f"{plain}-{python.replace(' ', '-')}" if with_python and python else plain


def parse_step(spec: PipelineSpec, facts: PipelineFacts, variant: str, target: str, name: str) -> Step:
    """The step for the toolchain called `name`, which the target has."""
    inputs: dict[str, tuple[Input, ...]] = {
        "model": (FromStep(address("quantize", spec.pipeline, variant), MODEL_FILES),)
    }
    if facts.plugins:
        inputs["plugins"] = facts.plugins
    return Step(
        address("parse", spec.pipeline, variant, name),
        ParseOptions(origins={}),
        {"toolchain": facts.targets[target].toolchain, **facts.tools["parse"]},
        inputs,
        EngineRequirements(spec.builder.time_limit, spec.builder.memory_limit),
        Parts(PACKAGE, toolchain_from(spec, target).parts),
    )


def readback_step(spec: PipelineSpec, facts: PipelineFacts, variant: str, name: str) -> Step | None:
    """The step that compares the parsed network; None if the spec gives no data for it or disables it."""
    asked = spec.validate_
    if asked is None or not asked.readback.run or not (facts.data or facts.golden):
        return None
    measured, inputs = measured_by(spec, facts, variant)
    recorded = measured.reference == "golden"
    origins = measured.origins
    options = ReadbackOptions(
        data=measured.data,
        samples=measured.samples,
        profiles=measured.profiles,
        corners=measured.corners,
        recorded=recorded,
        origins={
            **{field: origins[field] for field in ("data", "samples", "profiles", "corners")},
            "recorded": origins["reference"],
            "graft": CONSTANT,
        },
    )
    validate = address("validate", spec.pipeline, variant)
    taken: dict[str, tuple[Input, ...]] = {
        "network": (FromStep(address("parse", spec.pipeline, variant, name), NETWORK_FILES),),
        "typed": (FromStep(address("quantize", spec.pipeline, variant), MODEL_FILES),),
        "outputs": (FromStep(validate, TYPED_OUTPUTS),),
    }
    if recorded:
        taken["golden"] = facts.golden
    if "data" in inputs:
        taken["data"] = inputs["data"]
    place = address("readback", spec.pipeline, variant, name)
    return Step(place, options, facts.tools["readback"], taken)
