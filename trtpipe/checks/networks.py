"""`check` with TensorRT's own parser: the parse steps for a spec's typed models, brought up to date.

A variant whose types depend on a calibration or a search that has not run yet is left out, because that may take long;
so is a toolchain that is not on this machine, or that can parse only on a machine with its GPU. Everything left out is
reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trtpipe.building.facts import FactFinder
from trtpipe.building.performer import PLAIN_TERMS, Given, Terms
from trtpipe.building.problem_places import placed
from trtpipe.building.silent import Unheard
from trtpipe.building.steps import Steps, open_steps
from trtpipe.delivery.called_nodes import caller_of
from trtpipe.errors import Problem, SpecError, StoreError, TrtpipeError
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.networks.verdicts import judge_network, worth_telling
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Restore, UpToDate
from trtpipe.plan.graph import Cell, Plan, plan_of, with_upstream
from trtpipe.plan.planner import steps_of
from trtpipe.plan.ports import Observer
from trtpipe.plan.rebuilder import Decided, Rebuilder, decide_all
from trtpipe.plan.scheduler import Done, Failed, Result
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import ReadbackSpec
from trtpipe.workspace.site import HereOf
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import Workspace

_DEAR = ("calibrate", "search")
"""Stages that run a model on data, which may take long."""


@dataclass(frozen=True, slots=True)
class ParsedCells:
    """The result of parsing."""

    problems: tuple[Problem, ...]
    not_parsed: Mapping[str, str]
    """Cell → why its network was not parsed; all others were."""


@dataclass(frozen=True, slots=True)
class Parses:
    """The parse steps of a pipeline and what they need, without the steps that depend on them."""

    workspace: Workspace
    plan: Plan
    here: HereOf
    cells: tuple[Cell, ...]


def parse_cells(
    parses: Parses, observer: Observer | None, *, offline: bool, jobs: int, given: Given = PLAIN_TERMS.given
) -> ParsedCells:
    """Have TensorRT parse the model of every selected cell, as far as that is possible now.

    Raises what a plan raises, Interrupted.
    """
    workspace = parses.workspace
    left_out = dict(_left_out(parses))
    wanted = parses.here.toolchains.keys() - left_out.keys()
    problems: list[Problem] = []
    site, terms = workspace.site, Terms(jobs, offline, given=given)
    try:
        with open_steps(parses.plan, site, parses.here, observer or Unheard(), terms) as steps:
            results = steps.bring(sorted(wanted), keep_going=True)
            for address, result in results.items():
                problems += _told(workspace, steps, address, result)
    except StoreError as error:  # the project is read-only
        return ParsedCells((), {cell.name: error.problems[0].fact for cell in parses.cells})
    failed = {one: "a step before failed" for one in wanted if not isinstance(results.get(one), Done)}
    reasons = {**left_out, **failed}
    found = {
        cell.name: reasons[cell.steps["parse"]] for cell in parses.cells if cell.steps["parse"] in reasons
    }
    return ParsedCells(tuple(dict.fromkeys(problems)), found)


def parses_of(workspace: Workspace, targets: TargetResolver) -> Parses:
    """The parse steps of the selected cells of the workspace's one pipeline. Raises SpecError."""
    finder = FactFinder(workspace.state, targets)
    (pipeline,) = workspace.pipelines
    facts = finder.facts_of(pipeline)
    if facts is None:
        raise SpecError(finder.problems)
    steps, declared = steps_of(pipeline.spec, facts)
    cells = tuple(cell for cell in declared if workspace.wants(cell.name))
    toolchains = {cell.steps["parse"]: facts.targets[cell.target].found for cell in cells}
    plan = plan_of({address: steps[address] for address in with_upstream(steps, toolchains)}, ())
    site = workspace.site
    return Parses(workspace, plan, HereOf(site.root, site.reach, plan.steps, toolchains), cells)


def _left_out(parses: Parses) -> Iterator[tuple[Address, str]]:
    """The parse steps that are not run, each with the reason."""
    from trtpipe.toolchains.detect import detect_gpus

    decided = decide_all(parses.plan, Rebuilder(parses.workspace.site.past()))
    for address, toolchain in parses.here.toolchains.items():
        if toolchain.flavour == "tensorrt" and not detect_gpus():
            yield address, f"{toolchain} can parse only on a machine with a GPU, and this one has none"
        elif not toolchain.ready:
            yield address, f"{toolchain} is not installed yet"
        elif waits := waits_for(parses.plan, decided, address):
            yield address, f"its {waits} has not run yet"


def waits_for(plan: Plan, decided: Decided, address: Address) -> str:
    """The stage of an earlier step that runs a model on data and has not run yet."""
    for one in sorted(with_upstream(plan.steps, [address])):
        if one.stage in _DEAR and not isinstance(decided.decisions[one], (UpToDate, Restore)):
            return {"calibrate": "calibration", "search": "search"}[one.stage]
    return ""


def _told(workspace: Workspace, steps: Steps, address: Address, result: Result) -> list[Problem]:
    """The problems at a step's end: why it failed, or how the network differs."""
    if isinstance(result, Failed):
        return _failure(workspace, address, result.error)
    if address.stage != "parse" or not isinstance(result, Done):
        return []
    asked = _loaded(workspace).spec.validate_
    readback = asked.readback if asked is not None else ReadbackSpec()
    called = caller_of(lambda: _typed_model(steps, address))
    verdict = judge_network(steps.trace(address).summary, None, readback, "it was not run", called)
    unknown = [
        Problem(Code.PARSER_WARNING, f"TensorRT's parser warns: {message}", severity="warning")
        for name, message in worth_telling(steps.trace(address).summary)
        if not name
    ]
    return [of_variant(workspace, address, one) for one in (*verdict.problems, *unknown)]


def _typed_model(steps: Steps, address: Address) -> Path:
    """The model that a parse step parsed."""
    (made,) = (one for one in with_upstream(steps.plan.steps, [address]) if one.stage == "quantize")
    return steps.store.path(steps.trace(made).outputs["model.onnx"])


def _failure(workspace: Workspace, address: Address, error: TrtpipeError) -> list[Problem]:
    if address.stage != "parse":
        return list(placed(workspace, address, error).problems)
    return [
        of_variant(workspace, address, replace(one, fact=f"{address.target}: {one.fact}"))
        for one in error.problems
    ]


def of_variant(workspace: Workspace, address: Address, problem: Problem) -> Problem:
    """The problem at its variant in the spec."""
    named = replace(
        problem, fact=f"{address.place.variant}: {problem.fact}", path=("variants", address.variant)
    )
    return _loaded(workspace).locate(named)


def _loaded(workspace: Workspace) -> LoadedPipeline:
    (pipeline,) = workspace.pipelines
    return pipeline
