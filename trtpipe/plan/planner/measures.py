"""The validate step's options and inputs: how a variant's typed model is measured. Pure functions, no I/O."""

from __future__ import annotations

from trtpipe.plan.address import address
from trtpipe.plan.graph import FromStep, Input, Step
from trtpipe.plan.options import ValidateOptions
from trtpipe.plan.origins import InSpec, Origin, Parts
from trtpipe.plan.planner.facts import MODEL_FILES, PipelineFacts
from trtpipe.plan.planner.spec_values import PROFILES, data_set_origin, profiles_record, transform_options
from trtpipe.spec.pipeline import PipelineSpec, ValidateSpec

_VALIDATE = InSpec(("validate",))


def validate_step(spec: PipelineSpec, facts: PipelineFacts, variant: str) -> Step:
    """Measures metrics only. Thresholds are judged at delivery, so changing one does not run anything again."""
    options, measured = measured_by(spec, facts, variant)
    typed = {"typed": (FromStep(address("quantize", spec.pipeline, variant), MODEL_FILES),)}
    place = address("validate", spec.pipeline, variant)
    return Step(place, options, facts.tools["validate"], {**typed, **measured})


def measured_by(
    spec: PipelineSpec, facts: PipelineFacts, variant: str
) -> tuple[ValidateOptions, dict[str, tuple[Input, ...]]]:
    """The options and inputs (by slot) with which a variant's typed model is measured."""
    asked = spec.validate_
    assert asked is not None
    other = asked.reference_of(variant)
    transformed = is_grafted(spec) or other is not None
    options = ValidateOptions(
        data=facts.data,
        samples=asked.samples,
        profiles=profiles_record(spec.profiles),
        corners=asked.corners,
        reference=_kind_of_reference(asked),
        transform=transform_options(None if transformed else spec.transform),
        origins={
            **_VALIDATE.each("samples", "corners", "reference"),
            "data": _data_from(asked),
            "profiles": PROFILES,
            "transform": InSpec(("transform",)),
        },
    )
    inputs = {"reference": facts.golden or _reference(spec, facts, other)}
    if facts.data_sources:
        inputs["data"] = facts.data_sources
    return options, inputs


def is_grafted(spec: PipelineSpec) -> bool:
    """Whether the transform puts layers into the model."""
    return spec.transform is not None and spec.transform.graft is not None


def _data_from(asked: ValidateSpec) -> Origin | Parts:
    """The origin of the data's options: random data are described in the spec itself, under `random`."""
    return data_set_origin(asked.data) if asked.data is not None else _VALIDATE


def _kind_of_reference(asked: ValidateSpec) -> str:
    """`onnxruntime` for any model that runs in its own types; its digest says which model it is."""
    if asked.golden is not None:
        return "golden"
    return "float64" if asked.reference == "float64" else "onnxruntime"


def _reference(spec: PipelineSpec, facts: PipelineFacts, other: str | None) -> tuple[Input, ...]:
    """The reference model: another variant if requested, else the source if ONNX Runtime can run it, else the imported
    model.

    A grafted model is compared with the transformed model before its precision was lowered, because no other model
    has the grafted layers.
    """
    if other is not None:
        return (FromStep(address("quantize", spec.pipeline, other), MODEL_FILES),)
    if is_grafted(spec):
        return (FromStep(address("transform", spec.pipeline), MODEL_FILES),)
    if spec.model.parser == "onnx":
        return facts.model.inputs["source"]
    return (FromStep(address("import", spec.pipeline), MODEL_FILES),)
