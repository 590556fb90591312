"""Previews a data set by itself, or as one pipeline's model receives it. Samples are read in a child process."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.datasets import source_files
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.errors import SpecError, TrtpipeError
from trtpipe.files import temporary_folder
from trtpipe.loader.project import Project, find_project
from trtpipe.loader.specs import LoadedDataset, load_dataset
from trtpipe.plan.control import Control
from trtpipe.plan.planner import profiles_record
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.processes.stage_runs import run_in_child
from trtpipe.workspace.workspace import BUILD_DIRECTORY, open_workspace


@dataclass(frozen=True, slots=True)
class Preview:
    """The result: the report, and input → contact sheet."""

    report: Mapping[str, Any]
    sheets: Mapping[str, Path]


def preview_dataset(
    name: str,
    *,
    spec: str | None,
    samples: int | None,
    shown: int,
    output: Path | None,
    cwd: Path | None = None,
) -> Preview:
    """Look at a data set of the project around `cwd`, fed as the pipeline in `spec` takes it when there is one.

    Sheets go to `output`, or to `build/preview/NAME.png`. Raises SpecError and StepFailed.
    """
    cwd = cwd or Path.cwd()
    inputs, profiles = _fed(spec, cwd) if spec is not None else (None, [])
    project = find_project(cwd / spec) if spec is not None else find_project(cwd)
    loaded = load_dataset(project.dataset(name), project)
    with temporary_folder("preview") as made:
        folder = Path(made)
        (folder / "out").mkdir()
        try:
            files = source_files(loaded.spec, ProjectFiles(project))
            options = {
                "name": name,
                "spec": _record(loaded),
                "inputs": inputs,
                "profiles": profiles,
                "samples": samples,
                "shown": shown,
            }
            task = Task("preview", options, {"data": files}, folder / "out")
            seen = run_in_child(task, folder, Control())
        except TrtpipeError as error:
            error.problems = tuple(loaded.locate(one) if one.path else one for one in error.problems)
            raise
        report = {key: value for key, value in seen.summary.items() if key != "peak_rss"}
        return Preview({"data": name, **report}, _kept(seen.files, project, name, output))


def _record(loaded: LoadedDataset) -> dict[str, Any]:
    return loaded.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _fed(spec: str, cwd: Path) -> tuple[list[tuple[str, str, list[Any] | None]], list[Any]]:
    """The inputs of a pipeline's model, as its transform leaves them, and its profiles."""
    from trtpipe.building.canonical_models import readable_model
    from trtpipe.proofs.model import view_model
    from trtpipe.stages.transforms import grafted

    workspace = open_workspace([spec], cwd=cwd)
    if len(workspace.pipelines) != 1:
        names = ", ".join(one.path.name for one in workspace.pipelines)
        raise SpecError(
            Code.AMBIGUOUS_NAME, f"{spec!r} contains several pipelines: {names}", "name one of them"
        )
    (pipeline,) = workspace.pipelines
    with (
        readable_model(pipeline, workspace.store, workspace.state) as proto,
        temporary_folder("preview") as folder,
    ):
        whole = grafted(pipeline, proto, Path(folder)) if pipeline.graft is not None else (pipeline, proto)
        view = view_model(whole[1], whole[0].spec.transform)
        found = [
            (one.name, one.dtype, list(one.dims) if one.dims is not None else None) for one in view.inputs
        ]
    workspace.state.save()
    return found, profiles_record(pipeline.spec.profiles)


def _kept(made: Mapping[str, Path], project: Project, name: str, output: Path | None) -> dict[str, Path]:
    """Moves the sheets to their final place; if there are several, each gets its input's name."""
    whole = output or project.root / BUILD_DIRECTORY / "preview" / f"{name}.png"
    kept = {}
    for input_, sheet in made.items():
        place = whole if len(made) == 1 else whole.with_name(f"{whole.stem}-{_safe(input_)}{whole.suffix}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sheet, place)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SpecError(
                Code.CANNOT_WRITE, f"cannot write '{place}': {reason}", "name another place with --output"
            ) from error
        kept[input_] = place
    return kept


def _safe(name: str) -> str:
    """An input's name in a form that can be part of a file name."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)[:64]


def list_datasets(cwd: Path | None = None) -> list[dict[str, Any]]:
    """Every data set of the project: its sources and how many samples it has, or why they cannot be counted."""
    from trtpipe.datasets import runs_code
    from trtpipe.datasets.samples.batches import open_dataset

    project = find_project(cwd or Path.cwd())
    found: list[dict[str, Any]] = []
    for name, path in project.datasets.items():
        entry: dict[str, Any] = {"data": name, "sources": [], "samples": None, "labels": False, "problem": ""}
        found.append(entry)
        try:
            spec = load_dataset(path, project).spec
            entry |= {"sources": list(spec.kinds()), "description": spec.description or ""}
            if runs_code(spec):
                source_files(spec, ProjectFiles(project))
                continue  # a Python function's samples can only be counted by running it
            with open_dataset(spec, ProjectFiles(project)) as data:
                entry |= {"samples": data.samples, "labels": data.has_labels}
        except TrtpipeError as error:
            entry["problem"] = error.problems[0].fact
    return found
