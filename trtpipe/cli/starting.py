"""`trtpipe init` and `trtpipe schema`: how a project begins, and what its editor needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.files import write_whole
from trtpipe.loading.project import PIPELINES, find_project
from trtpipe.loading.schema import dataset_schema, pipeline_schema, project_schema
from trtpipe.system.workspace import known_names

if TYPE_CHECKING:
    from trtpipe.system.starting import Recognised


def init_command(model: Path, output: Path | None, name: str | None, *, force: bool, to_stdout: bool) -> int:
    """Write a spec for a model, or print it. Never replaces a file unless told."""
    if not model.exists():
        raise SpecError(f"no such model: {str(model)!r}", "give the path of a model")
    from trtpipe.describing.init_spec import pipeline_name
    from trtpipe.system.starting import recognise

    project = find_project(output.parent if output else Path.cwd())
    found = recognise(model, project)
    name = pipeline_name(name or model.stem)
    text = _text(found, name)
    if to_stdout:
        say(text.rstrip())
        return EXIT_DONE
    target = output or project.root / PIPELINES / f"{name}.yaml"
    if target.exists() and not force:
        raise SpecError(
            f"{target} exists already", "write elsewhere with --output, or replace it with --force"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text.encode())
    except OSError as error:
        raise SpecError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error
    shown = target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target
    note(f"wrote {shown}")
    say(f"trtpipe build {shown}")
    return EXIT_DONE


def _text(found: Recognised, name: str) -> str:
    """The spec, as complete as this machine can make it; warns of what it is not."""
    from trtpipe.system.starting import first_spec, half_for, spec_without_reading, what_is_missing

    missing = what_is_missing(found)
    if missing is not None:
        note(f"warning: the model was not read: {missing.fact}; {missing.remedy}, then run init again")
        return spec_without_reading(found, missing, name=name)
    text = first_spec(found, name=name)
    half, untried = half_for(text, found)
    if half is not None:
        text = first_spec(found, name=name, half=half)
    if untried:
        note(f"warning: the half variant was not tried: {untried}")
    return text


def schema_command(kind: str) -> int:
    """Print a JSON Schema."""
    match kind:
        case "pipeline":
            say_json(pipeline_schema(known_names()))
        case "dataset":
            say_json(dataset_schema())
        case "project":
            say_json(project_schema())
        case _:
            raise SpecError(f"unknown schema {kind!r}", "the schemas are pipeline, dataset and project")
    return EXIT_DONE
