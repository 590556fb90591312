"""Finds the place of a step's problems: in the pipeline's spec, or in the spec of the data set that it read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from trtpipe.errors import Problem, SpecError, SpecPath, TrtpipeError
from trtpipe.loader.specs import LoadedPipeline, load_dataset
from trtpipe.plan.address import Address
from trtpipe.plan.planner.calibrations import data_set_of
from trtpipe.workspace.workspace import Workspace


def placed(workspace: Workspace, address: Address, error: TrtpipeError) -> TrtpipeError:
    """The error, with its problems located in the spec."""
    # a step knows its options, but not the variant of the spec that they come from
    if address.stage == "quantize":
        error.problems = tuple(_inside(one, ("variants", address.variant)) for one in error.problems)
    loaded = next((one for one in workspace.pipelines if one.spec.pipeline == address.pipeline), None)
    if loaded is not None:
        locate = _data_set_of(loaded, address, error) or loaded.locate
        error.problems = tuple(locate(one) if one.path else one for one in error.problems)
    return error


def _inside(problem: Problem, place: SpecPath) -> Problem:
    if not problem.path or problem.path[:1] == place[:1]:
        return problem
    return replace(problem, path=(*place, *problem.path))


def _data_set_of(
    pipeline: LoadedPipeline, address: Address, error: TrtpipeError
) -> Callable[[Problem], Problem] | None:
    """Locates problems in the data set that a step reads; None when the error is not about samples."""
    asked = pipeline.spec.validate_
    name = data_set_of(address) if address.stage == "calibrate" else asked and asked.data
    if not isinstance(error, SpecError) or address.stage not in ("calibrate", "validate") or not name:
        return None
    with contextlib.suppress(SpecError):  # it was deleted or damaged while the step ran
        return load_dataset(pipeline.project.dataset(name), pipeline.project).locate
    return None
