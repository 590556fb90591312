"""Where a changed field of a fingerprint comes from: a file, or a line of a spec; and which commit changed it last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.loading.specs import LoadedPipeline
from trtpipe.lockfile import pipeline_of
from trtpipe.plan.decisions import Decision, Run
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.graph import Source, Step
from trtpipe.plan.reasons import Changed
from trtpipe.system.commits import Commit, History

if TYPE_CHECKING:
    from trtpipe.system.building import Planned

_PROFILE = re.compile(r"options\.profiles\[(\d+)\](?:\.([^.\[]+))?")


@dataclass(slots=True)
class Causes:
    """Answers for one plan; git is asked about each place once, and only about what changed."""

    planned: Planned
    history: History = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(self.planned.workspace.root)

    def of(self, decisions: Mapping[str, Decision]) -> dict[tuple[str, str], Commit]:
        """Step and field → the commit that last changed what stands behind it, as far as git knows."""
        found: dict[tuple[str, str], Commit] = {}
        for address, decision in decisions.items():
            if isinstance(decision, Run) and isinstance(decision.reason, Changed):
                for change in decision.reason.changes:
                    commit = self._commit_of(self.planned.plan.steps[address], change)
                    if commit is not None:
                        found[address, change.field] = commit
        return found

    def _commit_of(self, step: Step, change: Change) -> Commit | None:
        place = self._place_of(step, change.field)
        return self.history.last_change(*place) if place is not None else None

    def _place_of(self, step: Step, name: str) -> tuple[Path, int | None] | None:
        for slot, refs in step.inputs.items():
            for ref in refs:
                if isinstance(ref, Source) and name == f"inputs.{slot}.{ref.name}":
                    return ref.path, None
        pipelines = {one.spec.pipeline: one for one in self.planned.workspace.pipelines}
        pipeline = pipelines.get(pipeline_of(step.address))
        if pipeline is None:
            return None
        if name.startswith("options.data"):
            return _data_set(pipeline, step)
        path = spec_path_of(step, name)
        where = pipeline.locate(Problem("changed", path=path)).where if path else None
        return (Path(where.file), where.line) if where is not None else None


def spec_path_of(step: Step, name: str) -> SpecPath:
    """Where the spec says what a field of a step's fingerprint holds; empty when it is not the spec that says it."""
    place = step.address.rsplit(":", 1)[0].partition("/")[2]
    variant, _, target = place.partition("@")
    profile = _PROFILE.match(name)
    if profile:
        return ("profiles", int(profile[1]), *([profile[2]] if profile[2] else []))
    root, _, rest = name.partition(".")
    first, second = [*re.split(r"[.\[]", rest), ""][:2]
    measured = first in ("samples", "corners", "reference")
    builder = {"builder": ("builder", second), "compute_capabilities": ("targets", target, "gpu")}
    places: dict[tuple[str, str], SpecPath] = {
        ("build_engine", "options"): builder.get(first, ("targets", target, first)),
        ("build_engine", "tools"): ("targets", target),
        ("quantize", "options"): ("variants", variant, first),
        ("search", "options"): ("variants", variant),
        ("validate", "options"): ("validate", first) if measured else ("transform", first),
        ("transform", "options"): ("transform", first),
        ("import", "options"): ("model", "options", second) if first == "options" else ("model", first),
        ("fetch", "options"): ("model",),
    }
    return places.get((step.stage, root), ())


def _data_set(pipeline: LoadedPipeline, step: Step) -> tuple[Path, None] | None:
    asked = pipeline.spec.validate_
    name = (
        asked.data if step.stage == "validate" and asked else step.address.partition("/")[2].partition("+")[0]
    )
    try:
        return (pipeline.project.dataset(name), None) if isinstance(name, str) else None
    except SpecError:
        return None
