"""The project around a spec: its root, shared defaults, data sets and pipelines, and which files it may read.

Deals with `trtpipe.yaml` and the directories `pipelines/` and `calibration/`; does not interpret the files in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trtpipe.errors import Location, Problem, SpecError, SpecPath
from trtpipe.loader.grammar import choose_from, nearest
from trtpipe.loader.marks import Document
from trtpipe.loader.scalars import shortened
from trtpipe.loader.sources import reached, resolve_source
from trtpipe.loader.user import grant_allowed
from trtpipe.loader.whole_files import whole_file
from trtpipe.loader.yaml_reader import MAX_BYTES, shown_path
from trtpipe.permissions import ProjectCode, code_of, is_granted, not_allowed
from trtpipe.problem_codes import Code
from trtpipe.spec.project import ProjectSpec

PROJECT_FILE = "trtpipe.yaml"
LOCK_FILE = "trtpipe.lock"
PIPELINES = "pipelines"
CALIBRATION = "calibration"
_YAML = (".yaml", ".yml")
_LOOKS_LIKE_A_SPEC = re.compile(rb"^(pipeline|bundle)[ ]*:", re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """A directory with pipelines, and the defaults in its `trtpipe.yaml` (both None when it has no such file)."""

    root: Path
    spec: ProjectSpec | None = None
    document: Document | None = None

    def resolve_source(self, text: str, path: SpecPath = (), *, directory: bool = False) -> Path:
        """The existing file (or `directory`) that `text` in a spec names, at `path` in that spec. Raises SpecError.

        Relative paths start at the root; the file must lie inside the project or one of its `reach`
        directories. `pkg://PACKAGE/PATH` is a file in an installed package, which is not imported.
        """
        try:
            return resolve_source(text, self.root, self.reach, path, directory=directory)
        except SpecError:
            self._refuse_unallowed(text, path)
            raise

    @property
    def reach(self) -> tuple[str, ...]:
        """The directories outside the project that it may read: those that it requests and its user has allowed."""
        return tuple(text for text, code in self.wanted_reach() if is_granted(code))

    def wanted_reach(self) -> list[tuple[str, ProjectCode]]:
        """The directories that `reach` names, as written, each as something to allow. Raises SpecError."""
        wanted = self.spec.reach if self.spec else ()
        return [(text, code_of("directory", str(reached(self.root, text)))) for text in wanted]

    def _refuse_unallowed(self, text: str, path: SpecPath) -> None:
        """Raises SpecError for a file in a directory that the project requests but the user has not allowed."""
        try:
            found = (self.root / text).resolve()
        except (OSError, ValueError, RuntimeError):
            return
        for _, code in self.wanted_reach():
            if not is_granted(code) and found.is_relative_to(code.name):
                raise SpecError(not_allowed(code, path))

    @cached_property
    def datasets(self) -> dict[str, Path]:
        """The data sets by name: the files of `calibration/`."""
        return {path.stem: path for path in _yaml_files(self.root / CALIBRATION)}

    def dataset(self, name: str, path: SpecPath = ()) -> Path:
        """The file of a data set that a spec names at `path`. Raises SpecError."""
        if name not in self.datasets:
            shown = shortened(name)
            fact = f"no data set {shown!r}: there is no {CALIBRATION}/{shown}.yaml"
            raise SpecError(
                Problem(Code.UNKNOWN_NAME, fact, choose_from(name, self.datasets, "data sets"), path=path)
            )
        return self.datasets[name]

    def locate(self, path: SpecPath) -> Location | None:
        """The place of a value in `trtpipe.yaml`; None if it is not there."""
        return self.document.locate(path) if self.document and self.document.has(path) else None


def find_root(start: Path) -> Path:
    """The root of the project that a file or directory belongs to.

    The nearest directory at or above it that holds `trtpipe.yaml` or `trtpipe.lock`; else the parent of the
    nearest directory named `pipelines` or `calibration`; else the directory itself.
    """
    start = Path(os.path.normpath(start.absolute()))  # 'a/..' has wrong parents
    home = start if start.is_dir() else start.parent
    above = [home, *home.parents]
    marked = (one for one in above if (one / PROJECT_FILE).is_file() or (one / LOCK_FILE).is_file())
    named = (one.parent for one in above if one.name in (PIPELINES, CALIBRATION))
    return next(marked, None) or next(named, None) or home


def find_project(start: Path) -> Project:
    """The project that a file or directory belongs to, with its defaults. Raises SpecError."""
    return load_project(find_root(start))


def load_project(root: Path) -> Project:
    """The project at a root, with the defaults in its `trtpipe.yaml` if it has one. Raises SpecError."""
    grant_allowed(root)
    path = root / PROJECT_FILE
    if not path.exists():
        return Project(root)
    spec, document = whole_file(ProjectSpec, path)
    return Project(root, spec, document)


def find_pipelines(args: Sequence[str], cwd: Path) -> list[Path]:
    """The spec files that a command means. Raises SpecError with everything that cannot be found.

    Each argument is a spec, a directory of specs, or the name of a bundle. Without any: the specs in `pipelines/`,
    else the one spec in the working directory, else the `pipelines/` of the project around it.
    """
    if not args:
        return _default_pipelines(cwd)
    found: dict[Path, None] = {}
    problems: list[Problem] = []
    for argument in args:
        meant = _pipelines_of(argument, cwd)
        if isinstance(meant, Problem):
            problems.append(meant)
        else:
            found |= dict.fromkeys(meant)
    if problems:
        raise SpecError(problems)
    return list(found)


def _default_pipelines(cwd: Path) -> list[Path]:
    if found := specs_in(cwd / PIPELINES):
        return found
    here = holding(specs_in(cwd), _LOOKS_LIKE_A_SPEC)
    if len(here) == 1:
        return here
    if found := specs_in(find_root(cwd) / PIPELINES):
        return found
    if here:
        names = ", ".join(path.name for path in here)
        raise SpecError(
            Code.AMBIGUOUS_NAME,
            "several pipelines are possible",
            f"name one or more of {names}, or '.' for all",
        )
    raise SpecError(
        Code.NO_PIPELINE,
        "no pipeline here",
        "name a spec, or write one: trtpipe init MODEL",
    )


def _pipelines_of(argument: str, cwd: Path) -> list[Path] | Problem:
    path = cwd / argument
    if path.is_dir():
        return specs_in(path) or Problem(
            Code.NO_PIPELINE, f"no specs in {argument!r}", "a spec is a file named *.yaml or *.yml"
        )
    if path.is_file():
        return [path]
    if bundle := _bundle_called(argument, path, cwd):
        return [bundle]
    beside = [one.relative_to(cwd).as_posix() for one in _specs_near(path) if one.is_relative_to(cwd)]
    near = nearest(argument, beside)
    return Problem(
        Code.NO_SUCH_FILE, f"no such spec: {argument!r}", f"did you mean {near!r}?" if near else ""
    )


def _bundle_called(name: str, path: Path, cwd: Path) -> Path | None:
    """The file of the bundle that has this name; looked for only where no file has it."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        return None
    begins = beginning("bundle", [name])
    near = [*_specs_near(path), *specs_in(find_root(cwd) / PIPELINES)]
    return next(iter(holding(near, begins)), None)


def _specs_near(path: Path) -> Iterator[Path]:
    yield from specs_in(path.parent)
    yield from specs_in(path.parent / PIPELINES)


def specs_in(directory: Path) -> list[Path]:
    """The files of specs in a directory, sorted."""
    return [path for path in _yaml_files(directory) if path.name != PROJECT_FILE]


def _yaml_files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix in _YAML and path.is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(Code.CANNOT_READ, f"cannot list {shown_path(directory)!r}: {reason}") from error


def beginning(kind: str, names: Iterable[str]) -> re.Pattern[bytes]:
    """The line with which a spec of one of these names begins: `pipeline: NAME`."""
    named = b"|".join(re.escape(name).encode() for name in names)
    return re.compile(rb"^%s[ ]*:[ ]*[\"']?(%s)[\"']?[ ]*(#.*)?\r?$" % (kind.encode(), named), re.MULTILINE)


def holding(paths: Iterable[Path], begins: re.Pattern[bytes]) -> list[Path]:
    """The files among these that hold a line of this form, read without parsing them."""
    return [path for path in paths if _holds(path, begins)]


def _holds(path: Path, begins: re.Pattern[bytes]) -> bool:
    try:
        with path.open("rb") as stream:
            return begins.search(stream.read(MAX_BYTES)) is not None
    except OSError:
        return False
