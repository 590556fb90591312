"""Lists the code that a project would run, and the files outside it that it would read, for `trtpipe allow`.

Nothing of it runs here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import TrtpipeError
from trtpipe.loader.project import PROJECT_FILE, Project, find_root
from trtpipe.loader.specs import LoadedPipeline, load_dataset
from trtpipe.loader.yaml_reader import shown_path
from trtpipe.permissions import ProjectCode, code_of, require
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.workspace.store_places import stores_to_allow
from trtpipe.workspace.written_places import links_outside

if TYPE_CHECKING:
    from trtpipe.loader.bundles import LoadedBundle


@dataclass(frozen=True, slots=True)
class Named:
    """Code that would run, and where the project names it."""

    code: ProjectCode
    where: str


def interpreter_code(python: str) -> ProjectCode:
    """A toolchain's interpreter: its command line, and those arguments that are files of the project."""
    root = find_root(Path.cwd()).resolve()
    contents = [python.encode(), *(file.read_bytes() for file in _own_files(python, root))]
    return code_of("interpreter", python, contents)


def _own_files(python: str, root: Path) -> Iterator[Path]:
    try:
        words = [python] if Path(python).expanduser().exists() else shlex.split(python)
    except (OSError, ValueError, RuntimeError):
        return
    yield from filter(None, (_file_inside(word, root) for word in words))


def _file_inside(word: str, root: Path) -> Path | None:
    """The file of the project that a word of a command names, if it names one."""
    try:
        path = Path(word).expanduser().resolve()
        return path if path.is_file() and path.is_relative_to(root) else None
    except (OSError, ValueError, RuntimeError):
        return None


def library_code(name: str, library: Path) -> ProjectCode:
    """A plugin library, by its bytes."""
    return code_of("library", name, [library.read_bytes()])


def require_libraries(libraries: Mapping[str, Path]) -> Mapping[str, Path]:
    """The libraries that TensorRT will load. Raises SpecError for one that the user has not allowed."""
    for name, library in libraries.items():
        require(library_code(Path(name).name, library), ("plugins",))
    return libraries


def code_in(
    project: Project, pipelines: Iterable[LoadedPipeline], bundles: Iterable[LoadedBundle] = ()
) -> list[Named]:
    """Everything that the project would run, each once, sorted by kind and name."""
    found: dict[str, Named] = {}
    for one in [*_of_project(project), *(named for spec in pipelines for named in _of_pipeline(spec))]:
        found.setdefault(one.code.digest, one)
    found |= {one.code.digest: one for one in [*_of_data_sets(project), *_of_drivers(bundles)]}
    return sorted(found.values(), key=lambda one: (one.code.kind, one.code.name))


def _of_project(project: Project) -> Iterator[Named]:
    for link, code in links_outside(project.root):
        yield Named(code, f"the link {link.name}")
    if project.spec is None:
        return
    yield from _interpreters(project.spec.toolchains.values(), PROJECT_FILE)
    yield from (Named(code, PROJECT_FILE) for _, code in project.wanted_reach())
    yield from (Named(code, PROJECT_FILE) for code in stores_to_allow(project))


def _interpreters(toolchains: Iterable[ToolchainSpec], where: str) -> Iterator[Named]:
    for one in toolchains:
        if one.python is not None:
            yield Named(interpreter_code(one.python), where)


def _of_pipeline(pipeline: LoadedPipeline) -> Iterator[Named]:
    where = shown_path(pipeline.path)
    yield from _interpreters(pipeline.spec.toolchains.values(), where)
    for path, file in pipeline.files.items():
        if path[:1] == ("plugins",):
            yield Named(library_code(file.name, file), where)
        if path == ("model", "options", "lowering"):
            options = pipeline.spec.model.options
            yield Named(code_of("code", str(options["lowering"]), [file.read_bytes()]), where)


def _of_data_sets(project: Project) -> Iterator[Named]:
    for file in project.datasets.values():
        code = _code_of_set(project, file)
        if code is not None:
            yield Named(code, shown_path(file))


def _of_drivers(bundles: Iterable[LoadedBundle]) -> Iterator[Named]:
    """The drivers of bundles; one that is invalid is reported by `check`."""
    for bundle in bundles:
        if bundle.spec.python is None:
            continue
        from trtpipe.datasets.locations.projects import ProjectFiles
        from trtpipe.datasets.python import project_code, reader
        from trtpipe.loader.bundles import driver_spec

        spec = driver_spec(bundle.spec)
        with suppress(TrtpipeError):
            yield Named(
                project_code(spec, reader.files(spec, ProjectFiles(bundle.project))), shown_path(bundle.path)
            )


def _code_of_set(project: Project, file: Path) -> ProjectCode | None:
    """The code of a data set; None when it has none, or is invalid, which is reported when it is read."""
    from trtpipe.datasets.locations.projects import ProjectFiles
    from trtpipe.datasets.python import project_code, reader

    try:
        spec = load_dataset(file, project).spec
        return project_code(spec, reader.files(spec, ProjectFiles(project))) if spec.python else None
    except TrtpipeError:
        return None
