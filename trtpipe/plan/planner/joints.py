"""The steps of a bundle's member whose inputs come reshaped or cast from other members. Pure functions, no I/O.

The member is the pipeline's own model up to its types; from there on it is a model of its own, with the reshape and
the cast in front of its inputs. So it shares every step before with the pipeline, and is validated by the pipeline's
step. Its network is run on the pipeline's data, with the reshape and the cast undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trtpipe.json_values import JsonObject, integers_in, object_in, objects_in
from trtpipe.plan.address import Address, Place, Stage, address
from trtpipe.plan.graph import Cell, FromStep, Step
from trtpipe.plan.options import EngineOptions, QuantizeOptions, ReadbackOptions
from trtpipe.plan.planner.facts import MODEL_FILES
from trtpipe.plan.planner.networks import NETWORK_FILES
from trtpipe.plan.planner.spec_values import profiles_record
from trtpipe.spec.pipeline import PipelineSpec


def joined_steps(
    spec: PipelineSpec,
    graft: JsonObject,
    made: Mapping[Address, Step],
    cells: Sequence[Cell],
) -> tuple[dict[Address, Step], tuple[Cell, ...]]:
    """The steps and cells of the member with this spec, from those of its pipeline; these steps are in the result."""
    steps, found, name = dict(made), list[Cell](), spec.pipeline
    profiles = [*profiles_record(spec.profiles)]
    for cell in cells:
        if cell.variant not in spec.variants or cell.target not in spec.targets:
            continue
        typed = _typed(steps, cell, name, graft)
        parse = _reading(steps, cell.steps["parse"], name, typed)
        place = address("build_engine", name, cell.variant, cell.target)
        built = made[cell.steps["build_engine"]]
        assert isinstance(built.options, EngineOptions), "an engine is built with them"
        options = replace(built.options, profiles=profiles)
        inputs = {**built.inputs, "model": (FromStep(typed, MODEL_FILES),)}
        steps[place] = replace(built, address=place, options=options, inputs=inputs, after=(parse,))
        own: dict[Stage, Address] = {**cell.steps, "quantize": typed, "parse": parse, "build_engine": place}
        plain = own.pop("readback", None)
        if plain is not None and can_be_undone(graft):
            own["readback"] = _read_back(steps, plain, own, graft, profiles)
        found.append(
            replace(cell, name=str(Place(name, cell.variant, cell.target)), pipeline=name, steps=own)
        )
    return steps, tuple(found)


def _typed(steps: dict[Address, Step], cell: Cell, name: str, graft: JsonObject) -> Address:
    """The step that makes the typed model with what is in front of it."""
    plain = steps[cell.steps["quantize"]]
    place = address("quantize", name, cell.variant)
    assert isinstance(plain.options, QuantizeOptions), "a typed model is made with them"
    steps[place] = replace(plain, address=place, options=replace(plain.options, graft=graft))
    return place


def can_be_undone(graft: JsonObject) -> bool:
    """Whether an input before its reshape has one size at most that is not known: then the reshape can be undone."""
    prepended = object_in(graft, "prepend")
    entries = [object_in(prepended, name) for name in prepended]
    return all(
        integers_in(one, "shape").count(-1) < 2
        for one in entries
        if any("reshape_dims" in layer for layer in objects_in(one, "layers"))
    )


def _read_back(
    steps: dict[Address, Step],
    plain: Address,
    own: Mapping[Stage, Address],
    graft: JsonObject,
    profiles: Sequence[JsonObject],
) -> Address:
    """The step that runs the member's network beside its typed model, on the data of the pipeline's."""
    step = steps[plain]
    place = address("readback", own["parse"].pipeline, plain.variant, plain.target)
    assert isinstance(step.options, ReadbackOptions), "a network is run with them"
    options = replace(step.options, profiles=[*profiles], graft=graft)
    inputs = {name: one for name, one in step.inputs.items() if name != "outputs"}
    inputs |= {
        "network": (FromStep(own["parse"], NETWORK_FILES),),
        "plain": step.inputs["typed"],
        "typed": (FromStep(own["quantize"], MODEL_FILES),),
    }
    steps[place] = replace(step, address=place, options=options, inputs=inputs)
    return place


def _reading(steps: dict[Address, Step], parse: Address, name: str, typed: Address) -> Address:
    """The step that parses that model, like `parse` does the pipeline's own."""
    place = address("parse", name, parse.variant, parse.target)
    plain = steps[parse]
    steps[place] = replace(
        plain, address=place, inputs={**plain.inputs, "model": (FromStep(typed, MODEL_FILES),)}
    )
    return place
