"""`trtpipe init` and `trtpipe schema`: how a project begins, and what its editor needs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.files import write_whole
from trtpipe.loading.project import PIPELINES, Project, find_project
from trtpipe.loading.schema import dataset_schema, pipeline_schema, project_schema
from trtpipe.problem_codes import Code
from trtpipe.spec.remote import is_remote
from trtpipe.system.workspace import known_names

if TYPE_CHECKING:
    from trtpipe.system.starting import Recognised


def init_command(model: str, output: Path | None, name: str | None, *, force: bool, to_stdout: bool) -> int:
    """Write a spec for a model, or print it. Never replaces a file unless told."""
    if not is_remote(model) and not Path(model).exists():
        raise SpecError(
            Code.NO_SUCH_FILE,
            f"no such model: {model!r}",
            "give the path of a model, or an address to fetch it from",
        )
    from trtpipe.describing.init_spec import pipeline_name
    from trtpipe.system.starting import recognise

    project = find_project(output.parent if output else Path.cwd())
    with contextlib.ExitStack() as stack:
        if is_remote(model):
            found, own_name = stack.enter_context(_fetched(model, project))
        else:
            found, own_name = recognise(Path(model), project), Path(model).stem
        name = pipeline_name(name or own_name)
        text = _text(found, name)
    if to_stdout:
        say(text.rstrip())
        return EXIT_DONE
    target = output or project.root / PIPELINES / f"{name}.yaml"
    if target.exists() and not force:
        raise SpecError(
            Code.EXISTS_ALREADY,
            f"{target} exists already",
            "write elsewhere with --output, or replace it with --force",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text.encode())
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write {target}: {(error.strerror or str(error)).lower()}"
        ) from error
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
    narrow = untried is not None and untried.code is Code.PROFILE_IMPOSSIBLE
    if narrow:  # the guesses reached further than the model
        text = first_spec(found, name=name, narrow=True)
        half, untried = half_for(text, found)
    if half is not None:
        text = first_spec(found, name=name, half=half, narrow=narrow)
    if untried is not None:
        note(f"warning: the half variant was not tried: {untried.fact}")
    return text


@contextmanager
def _fetched(address: str, project: Project) -> Iterator[tuple[Recognised, str]]:
    """A remote model, fetched, and its file's name."""
    from trtpipe.cli.progress import LazyProgress
    from trtpipe.loading.remotes import remote_file
    from trtpipe.system.starting_remotely import recognise_remote
    from trtpipe.system.workspace import Workspace

    remote = remote_file(address)
    if remote.has_credential:
        note("warning: the address holds what looks like a credential, and the spec will hold it too")
    with tempfile.TemporaryDirectory(prefix="trtpipe-init-") as folder, LazyProgress() as progress:
        found = recognise_remote(remote, Workspace(project, ()), Path(folder), progress)
        yield found, Path(remote.name).stem


def schema_command(kind: str) -> int:
    """Print a JSON Schema."""
    match kind:
        case "pipeline":
            say_json(pipeline_schema(known_names()))
        case "dataset":
            say_json(dataset_schema())
        case "project":
            say_json(project_schema())
        case "report":
            from trtpipe.reporting.schema import report_schema

            say_json(report_schema())
        case _:
            raise SpecError(
                Code.UNKNOWN_VALUE,
                f"unknown schema {kind!r}",
                "the schemas are pipeline, dataset, project and report",
            )
    return EXIT_DONE
