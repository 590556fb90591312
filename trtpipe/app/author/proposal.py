"""A first spec for a model of any format: which frontend reads it, the options that it proposes, and the text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.canonical.names import repeated_dims
from trtpipe.errors import ModelError, Problem
from trtpipe.files import temporary_folder
from trtpipe.frontends import Frontend, ModelFiles, Proposal
from trtpipe.frontends.recognition import options_of, propose
from trtpipe.inspection.first_draft import find_out, refuse_training
from trtpipe.inspection.init_spec import ModelHead, init_spec, unread_spec
from trtpipe.loader.project import Project
from trtpipe.problem_codes import Code
from trtpipe.proofs.proposals import Hints
from trtpipe.spec.fields import named_files

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Recognised:
    """A model whose format is known, ready to be read."""

    frontend: Frontend
    head: ModelHead
    files: ModelFiles
    options: Any

    def read(self, workplace: Path) -> onnx.ModelProto:
        """The model, read by its frontend (see `Frontend.read`)."""
        return self.frontend.read(self.files, self.options, workplace)


def recognise(path: Path, project: Project, companion: Path | None = None) -> Recognised:
    """Finds the frontend for the model at `path`; the model and its second file must be readable from the project.

    Raises SpecError or ModelError.
    """
    if not (path.is_file() or path.is_dir()):
        # opening a named pipe would block
        raise ModelError(Code.NOT_A_FILE, f"'{path}' is not a regular file")
    frontend, proposal = propose(path, companion=companion)
    source = _text(proposal.source, project.root) if proposal.source is not None else None
    written = _written(proposal.options, project.root)
    options = options_of(frontend, written)
    found = project.resolve_source(source, directory=frontend.takes_directory) if source is not None else None
    named = {".".join(map(str, at)): project.resolve_source(text) for at, text in named_files(options)}
    root = project.root.resolve()
    inside = found is None or found.resolve().is_relative_to(root)
    files = ModelFiles(found, named, root if inside or found is None else found.resolve().parent)
    return Recognised(
        frontend,
        ModelHead(source, frontend.name, written, proposal.comment, hints=hints_of(proposal)),
        files,
        options,
    )


def first_spec(model: Recognised, *, name: str, targets: Sequence[str] | None = None) -> str:
    """The text of a pipeline file for the model, untested. Raises ModelError; see `first_specs`."""
    from trtpipe.canonical.evaluation import Evaluator
    from trtpipe.legalization.legalize import legalize

    with temporary_folder("init") as workplace:
        places = Path(workplace, "read"), Path(workplace, "evaluate")
        for place in places:
            place.mkdir()
        proto = model.read(places[0])
        refuse_training(proto)
        hints = replace(model.head.hints, same={**model.head.hints.same, **repeated_dims(proto)})
        with Evaluator(places[1]) as evaluator:
            legalize(proto, evaluator)
        draft = find_out(proto, hints=hints)
        return init_spec(model.head, draft, name=name, targets=targets)


def what_is_missing(model: Recognised) -> Problem | None:
    """The package that must be installed before the model can be read; None when nothing is missing."""
    from trtpipe.building.facts import import_tools

    try:
        import_tools(model.frontend)
    except ModelError as error:
        return error.problems[0]
    return None


def spec_without_reading(model: Recognised, missing: Problem, *, name: str) -> str:
    """The text of a pipeline file, as far as it can be written while a package for reading the model is missing."""
    return unread_spec(model.head, name=name, why=f"{missing.fact}; {missing.remedy}, then init again")


def hints_of(proposal: Proposal) -> Hints:
    """The hints about sizes in a proposal."""
    return Hints(proposal.ranges, proposal.same)


def _written(options: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Options as a spec holds them: paths as text."""
    return {name: _text(value, root) if isinstance(value, Path) else value for name, value in options.items()}


def _text(path: Path, root: Path) -> str:
    """A path as a spec names it: relative to the project's root when inside."""
    found, root = Path(os.path.abspath(path)).resolve(), root.resolve()  # noqa: PTH100 - links stay as they are
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else found.as_posix()
