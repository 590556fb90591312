"""Puts a project's targets, toolchains and builder into a pipeline that leaves them out."""

from __future__ import annotations

from trtpipe.errors import Problem
from trtpipe.loader.grammar import choose_from
from trtpipe.loader.marks import Document
from trtpipe.loader.plain import Written
from trtpipe.loader.project import PROJECT_FILE, Project
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import TargetSpec
from trtpipe.spec.project import ProjectSpec

_ANY_TARGET = TargetSpec(gpu=("this",))
_NO_DEFAULTS = ProjectSpec(schema=1)


def with_defaults(document: Document, project: Project) -> tuple[Written, list[Problem]]:
    """The document's data with the project's targets, toolchains and builder where it leaves them out."""
    shared = project.spec or _NO_DEFAULTS
    data: dict[str, object] = dict(document.data)
    targets, problems = _targets(document, shared)
    if targets:
        data["targets"] = targets
    toolchains = data.get("toolchains", {})
    if isinstance(toolchains, dict):
        data["toolchains"] = {**shared.toolchains, **toolchains}
    if shared.builder is not None:
        data.setdefault("builder", shared.builder)
    return data, problems


def _targets(document: Document, shared: ProjectSpec) -> tuple[object, list[Problem]]:
    targets: object = document.data.get("targets", shared.targets)
    if not isinstance(targets, dict):
        return targets, []
    named = [name for name, target in targets.items() if target is None]
    problems = [_undescribed(name, document, shared) for name in named if name not in shared.targets]
    described = {name: shared.targets.get(name, _ANY_TARGET) for name in named}
    return {**targets, **described}, problems


def _undescribed(name: str, document: Document, shared: ProjectSpec) -> Problem:
    fact = f"target {name!r} is defined neither here nor in {PROJECT_FILE}"
    remedy = f"define it: {name}: {{gpu: rtx4090}}"
    if shared.targets:
        remedy = f"{choose_from(name, shared.targets, 'shared targets')}\nor {remedy}"
    return document.problem(Code.TARGET_UNDESCRIBED, fact, remedy, ("targets", name), key=True)
