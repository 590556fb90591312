"""`trtpipe init`: a first spec for a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, note, say
from trtpipe.errors import SpecError
from trtpipe.files import temporary_folder, write_whole
from trtpipe.frontends.recognition import refuse_companion
from trtpipe.loader.project import PIPELINES, Project, find_project
from trtpipe.problem_codes import Code
from trtpipe.spec.remote import is_remote

if TYPE_CHECKING:
    from trtpipe.app.author.first_spec import FirstSpec
    from trtpipe.app.author.proposal import Recognised


def init_command(
    model: str,
    output: Path | None,
    name: str | None,
    *,
    companion: Path | None = None,
    force: bool,
    to_stdout: bool,
) -> int:
    """Write a spec for a model, or print it. Replaces a file only with `--force`."""
    _refuse_missing(model)
    from trtpipe.processes.stage_runs import expect_stages

    expect_stages()
    from trtpipe.app.author.first_spec import tried_spec
    from trtpipe.app.author.proposal import recognise
    from trtpipe.cli.progress import LazyProgress
    from trtpipe.inspection.init_spec import pipeline_name

    project = find_project(output.parent if output else Path.cwd())
    with contextlib.ExitStack() as stack:
        if is_remote(model):
            found, own_name = stack.enter_context(_fetched(model, project, companion))
        else:
            found, own_name = recognise(Path(model), project, companion), Path(model).stem
        name = pipeline_name(name or own_name)
        with LazyProgress() as progress:
            spec = tried_spec(found, project, name=name, observer=progress)
    if to_stdout:
        _tell(spec)
        say(spec.text.rstrip())
        return EXIT_DONE
    target = output or project.root / PIPELINES / f"{name}.yaml"
    _write(target, spec.text, force=force)
    shown = target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target
    _tell(spec)
    note(f"wrote {shown}")
    say(f"trtpipe {'check' if spec.refused else 'build'} {shown}")
    return EXIT_DONE


def _refuse_missing(model: str) -> None:
    if not is_remote(model) and not Path(model).exists():
        raise SpecError(
            Code.NO_SUCH_FILE,
            f"no such model: {model!r}",
            "give the path or the address of a model",
        )


def _write(target: Path, text: str, *, force: bool) -> None:
    """Write a spec, replacing an existing one only if asked to. Raises SpecError."""
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


def _tell(spec: FirstSpec) -> None:
    """Print the results of testing the spec, if there is something to decide."""
    for text in spec.notes:
        note(f"warning: {text}")
    if spec.refused:
        first, *others = spec.refused
        more = f" (and {len(others)} more)" if others else ""
        remedy = "".join(f"\n  {line}" for line in first.remedy.splitlines())
        note(f"warning: the spec does not build yet{more}: {first.fact}{remedy}")


@contextmanager
def _fetched(address: str, project: Project, companion: Path | None) -> Iterator[tuple[Recognised, str]]:
    """A remote model, fetched, and its file's name. Raises SpecError when a second file was named."""
    if companion is not None:
        refuse_companion(
            "goes with a model on this machine, and this one is an address",
            "download the model and give its path, or write a spec that contains both addresses",
        )
    from trtpipe.app.author.remote_model import recognise_remote
    from trtpipe.cli.progress import LazyProgress
    from trtpipe.loader.remotes import remote_file
    from trtpipe.workspace.workspace import Workspace

    remote = remote_file(address)
    if remote.has_credential:
        note("warning: the address seems to contain a credential, which the spec will contain too")
    with temporary_folder("init") as folder, LazyProgress() as progress:
        found = recognise_remote(remote, Workspace(project, ()), Path(folder), progress)
        yield found, Path(remote.name).stem
