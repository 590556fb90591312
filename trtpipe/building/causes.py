"""The cause of a changed field of a fingerprint: a line of a spec or a file, and the commit that last changed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import SpecError, SpecPath
from trtpipe.git.blame import History
from trtpipe.loader.marks import Document
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.loader.yaml_reader import read_document, shown_path
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Decision, Pending, Run
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.graph import Step
from trtpipe.plan.origins import FromMaker, InDataSet, InFile, InSpec, Nowhere, Origin
from trtpipe.plan.reasons import Changed
from trtpipe.text.causes import Cause
from trtpipe.unions import assert_never

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned


@dataclass(slots=True)
class Causes:
    """Answers for one plan; git is asked about each place once, and only about what changed."""

    planned: Planned
    history: History = field(init=False)
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        workspace = self.planned.workspace
        self.history = History(workspace.root)
        self.places = Places({one.spec.pipeline: one for one in workspace.pipelines})

    def of(self, decisions: Mapping[Address, Decision]) -> dict[tuple[Address, str], Cause]:
        """Step and field → cause, for every field that changed."""
        return {
            (address, change.field): self._cause(self.planned.plan.steps[address], change)
            for address, decision in decisions.items()
            for change in _changes(decision)
        }

    def _cause(self, step: Step, change: Change) -> Cause:
        origin = step.origin(change.path)
        file, line = self.places.of(step.address.pipeline, origin) or (None, 0)
        if file is None:
            return Cause(origin)
        return Cause(origin, shown_path(file), line, self.history.last_change(file, line or None))


def _changes(decision: Decision) -> Iterator[Change]:
    if isinstance(decision, Run) and isinstance(decision.reason, Changed):
        yield from decision.reason.changes
    elif isinstance(decision, Pending):
        yield from decision.changes


@dataclass(slots=True)
class Places:
    """The files and lines that origins lead to; each data set is read once."""

    pipelines: Mapping[str, LoadedPipeline]
    _sets: dict[Path, Document] = field(default_factory=dict)

    def of(self, pipeline: str, origin: Origin) -> tuple[Path, int] | None:
        """The file, and the line in it (0 for all of it); None if the origin is not in an existing file."""
        match origin:
            case InSpec(path):
                return _place(self.pipelines[pipeline].source_of(path), path)
            case InDataSet(name, path):
                return self._in_data_set(self.pipelines[pipeline], name, path)
            case InFile(path):
                return path, 0
            case FromMaker() | Nowhere():
                return None
        assert_never(origin)

    def _in_data_set(self, pipeline: LoadedPipeline, name: str, path: SpecPath) -> tuple[Path, int] | None:
        try:
            file = pipeline.project.dataset(name)
            if file not in self._sets:
                self._sets[file] = read_document(file)
        except SpecError:  # it was deleted or damaged since the plan was made
            return None
        return _place(self._sets[file], path)


def _place(document: Document, path: SpecPath) -> tuple[Path, int]:
    """A line; for an omitted section the file as a whole."""
    line = document.locate(path).line if path and document.has(path[:1]) else 0
    return Path(document.file).absolute(), line
