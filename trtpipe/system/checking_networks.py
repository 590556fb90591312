"""What TensorRT's own parser says of a spec's typed models, for `check`: the parse steps, brought up to date.

A variant whose types rest on a calibration or a search that has not run yet is left out, for those take as long as the
data are many; so is a toolchain that is not here, or that parses only where its GPU is. What was left out is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from trtpipe.deciding import Decided
from trtpipe.errors import Problem, StoreError, TrtpipeError
from trtpipe.networks.verdicts import judge_network, worth_telling
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Restore, UpToDate
from trtpipe.plan.graph import with_upstream
from trtpipe.plan.ports import Observer
from trtpipe.problem_codes import Code
from trtpipe.scheduler import Done, Failed, Result
from trtpipe.spec.pipeline import ReadbackSpec
from trtpipe.system.performing import Terms
from trtpipe.system.placing import placed
from trtpipe.system.planned import Planned, make_plan
from trtpipe.system.steps import Steps
from trtpipe.system.unheard import Unheard
from trtpipe.system.workspace import Workspace

_DEAR = ("calibrate", "search")
"""Stages that run a model on data."""


@dataclass(frozen=True, slots=True)
class ParsedCells:
    """What came of it."""

    problems: tuple[Problem, ...]
    not_parsed: Mapping[str, str]
    """Cell → why its network was not parsed; all others were."""


def parse_cells(workspace: Workspace, observer: Observer | None, *, offline: bool, jobs: int) -> ParsedCells:
    """Have TensorRT parse the model of every cell that the workspace wants, as far as that can be done now.

    Raises SpecError and what a plan raises, Interrupted.
    """
    planned = make_plan(workspace)
    left_out = dict(_left_out(planned))
    wanted = {cell.steps["parse"] for cell in planned.plan.cells} - left_out.keys()
    problems: list[Problem] = []
    try:
        with planned.steps(observer or Unheard(), terms=Terms(jobs, offline)) as steps:
            results = steps.bring(sorted(wanted), keep_going=True)
            for address, result in results.items():
                problems += _told(planned, steps, address, result)
    except StoreError as error:  # of a project that may only be read
        return ParsedCells((), {cell.name: error.problems[0].fact for cell in planned.plan.cells})
    reasons = {
        **left_out,
        **{one: "a step before failed" for one in wanted if not isinstance(results.get(one), Done)},
    }
    found = {
        cell.name: reasons[cell.steps["parse"]]
        for cell in planned.plan.cells
        if cell.steps["parse"] in reasons
    }
    return ParsedCells(tuple(dict.fromkeys(problems)), found)


def _left_out(planned: Planned) -> Iterator[tuple[Address, str]]:
    """The parse steps that are not run, each with the reason."""
    from trtpipe.toolchains.detect import detect_gpus

    here = planned.here()
    for address in {cell.steps["parse"]: None for cell in planned.plan.cells}:
        toolchain = here.toolchains[address]
        if toolchain.flavour == "tensorrt" and not detect_gpus():
            yield address, f"{toolchain} parses where a GPU is, and there is none here"
        elif not toolchain.ready:
            yield address, f"{toolchain} is not installed yet"
        elif waits := _waits_for(planned, planned.decided, address):
            yield address, f"its {waits} has not run yet"


def _waits_for(planned: Planned, decided: Decided, address: Address) -> str:
    """The stage of a step before this one that runs a model on data and has not done so."""
    for one in sorted(with_upstream(planned.plan.steps, [address])):
        if one.stage in _DEAR and not isinstance(decided.decisions[one], (UpToDate, Restore)):
            return {"calibrate": "calibration", "search": "search"}[one.stage]
    return ""


def _told(planned: Planned, steps: Steps, address: Address, result: Result) -> list[Problem]:
    """What a step's end says that is wrong: why it failed, or what the network differs in."""
    if isinstance(result, Failed):
        return _failure(planned, address, result.error)
    if address.stage != "parse" or not isinstance(result, Done):
        return []
    asked = planned.specs[address.pipeline].validate_
    readback = asked.readback if asked is not None else ReadbackSpec()
    verdict = judge_network(steps.trace(address).summary, None, readback, "it was not run")
    unknown = [
        Problem(Code.PARSER_WARNING, f"TensorRT's parser warns: {message}", severity="warning")
        for name, message in worth_telling(steps.trace(address).summary)
        if not name
    ]
    return [_of_variant(planned, address, one) for one in (*verdict.problems, *unknown)]


def _failure(planned: Planned, address: Address, error: TrtpipeError) -> list[Problem]:
    if address.stage != "parse":
        return list(placed(planned.workspace, address, error).problems)
    return [
        _of_variant(planned, address, replace(one, fact=f"{address.target} refuses the model: {one.fact}"))
        for one in error.problems
    ]


def _of_variant(planned: Planned, address: Address, problem: Problem) -> Problem:
    """The problem at its variant in the spec."""
    named = replace(
        problem, fact=f"{address.place.variant}: {problem.fact}", path=("variants", address.variant)
    )
    (loaded,) = (one for one in planned.workspace.pipelines if one.spec.pipeline == address.pipeline)
    return loaded.locate(named)
