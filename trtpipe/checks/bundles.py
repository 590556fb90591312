"""Proves bundles: their edges against the models' interfaces, and that their members serve the same GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from trtpipe.building.bundles.joints import view_of
from trtpipe.errors import Problem, SpecError, TrtpipeError
from trtpipe.plan.planner.facts import TargetFacts
from trtpipe.plan.ports import Observer
from trtpipe.problem_codes import Code
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import Workspace

if TYPE_CHECKING:
    from trtpipe.checks.report import CheckReport
    from trtpipe.loader.bundles import LoadedBundle
    from trtpipe.loader.specs import LoadedPipeline
    from trtpipe.proofs.bundles.edges import Interface


def prove_bundles(
    workspace: Workspace, report: CheckReport, offline: bool, observer: Observer | None
) -> None:
    """Prove every bundle that the command selects, and add what was found to the report."""
    for bundle in workspace.whole_bundles:
        before = len(report.problems)
        try:
            lines = proved_bundle(bundle, workspace, offline=offline, observer=observer)
            report.lines += lines
        except TrtpipeError as error:
            report.problems += [one for one in error.problems if one not in report.problems]
        report.bundles.append({"bundle": bundle.name, "proved": len(report.problems) == before})


def proved_bundle(
    bundle: LoadedBundle, workspace: Workspace, *, offline: bool = False, observer: Observer | None = None
) -> list[str]:
    """What is proved of a bundle, as lines. Raises SpecError with everything that is wrong with it."""
    from trtpipe.proofs.bundles.edges import prove_edges

    members = interfaces(bundle, workspace, offline=offline, observer=observer)
    proof = prove_edges(bundle, members)
    problems = [*proof.problems, *_other_gpus(bundle), *_thresholds(bundle, members), *_driver(bundle)]
    if problems:
        raise SpecError(problems)
    about = f"{len(bundle.spec.members)} members for {', '.join(bundle.targets)}"
    return [f"ok {bundle.name} ({about})", *(f"ok {bundle.name}: {line}" for line in proof.proved)]


def interfaces(
    bundle: LoadedBundle, workspace: Workspace, *, offline: bool = False, observer: Observer | None = None
) -> dict[str, Interface]:
    """Every member's inputs and outputs; members of one pipeline share them. Raises TrtpipeError."""
    found: dict[str, Interface] = {}
    for name in sorted({member.pipeline for member in bundle.spec.members.values()}):
        found[name] = _interface(bundle.pipelines[name], workspace, offline, observer)
    return {name: found[member.pipeline] for name, member in bundle.spec.members.items()}


def _interface(
    pipeline: LoadedPipeline, workspace: Workspace, offline: bool, observer: Observer | None
) -> Interface:
    from trtpipe.proofs.bundles.edges import Interface

    view = view_of(pipeline, workspace, offline=offline, observer=observer)
    inputs = {info.name: info for info in view.inputs}
    outputs = {info.name: info for info in view.outputs}
    return Interface(inputs, outputs, pipeline.spec.profiles, view.infer)


def _other_gpus(bundle: LoadedBundle) -> Iterator[Problem]:
    """Targets under which the members are built for GPUs of which none is common to all of them."""
    resolver = TargetResolver()
    for index, target in enumerate(bundle.targets):
        found = {name: _capabilities(bundle, name, target, resolver) for name in bundle.spec.members}
        known = {name: one for name, one in found.items() if one}
        if known and not frozenset.intersection(*known.values()):
            listed = "; ".join(f"{name}: {', '.join(sorted(one))}" for name, one in known.items())
            fact = f"target {target!r}: the members are built for different GPUs ({listed})"
            path = ("targets", index) if bundle.spec.targets else ("members",)
            remedy = "give the target the same GPUs in all their pipelines"
            yield bundle.locate(Problem(Code.TARGET_OPTION, fact, remedy, path=path))


def _capabilities(bundle: LoadedBundle, member: str, target: str, resolver: TargetResolver) -> frozenset[str]:
    spec = bundle.pipeline_of(member).spec
    found = resolver.resolve(spec, bundle.target_of(member, target))
    return frozenset(found.compute_capabilities) if isinstance(found, TargetFacts) else frozenset()


def _thresholds(bundle: LoadedBundle, members: Mapping[str, Interface]) -> Iterator[Problem]:
    """Thresholds for outputs that the whole does not have; those of a driver are known only when it runs."""
    from trtpipe.metrics.thresholds import unmatched
    from trtpipe.proofs.bundles.edges import whole_outputs

    asked = bundle.spec.validate_
    if asked is None or bundle.spec.python is not None:
        return
    outputs = whole_outputs(bundle, members)
    for problem in unmatched(asked.thresholds, outputs, ("validate", "thresholds")):
        yield bundle.locate(replace(problem, fact=problem.fact.replace("of the model", "of the bundle")))


def _driver(bundle: LoadedBundle) -> Iterator[Problem]:
    """What is wrong with the driver's module, which is parsed and not run."""
    if bundle.spec.python is None:
        return
    from trtpipe.datasets.locations.projects import ProjectFiles
    from trtpipe.datasets.python import reader
    from trtpipe.loader.bundles import driver_spec

    try:
        reader.files(driver_spec(bundle.spec), ProjectFiles(bundle.project))
    except SpecError as error:
        yield from (bundle.locate(problem) for problem in error.problems)
