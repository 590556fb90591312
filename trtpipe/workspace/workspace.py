"""A project and the pipelines that a command selects, loaded; with the paths of its store, builds and lockfile."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import Problem, SpecError
from trtpipe.loader.all_specs import Loaded, load_all
from trtpipe.loader.project import LOCK_FILE, Project, find_pipelines
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import STATE_FILE, ProjectState
from trtpipe.toolchains.wheel_lock import LOCK_FILE as WHEEL_LOCK
from trtpipe.workspace.known_names import known_names
from trtpipe.workspace.site import Site, site_of
from trtpipe.workspace.stores import open_store
from trtpipe.workspace.written_places import refuse_foreign_places

if TYPE_CHECKING:
    from trtpipe.loader.bundles import LoadedBundle

STATE_DIRECTORY = ".trtpipe"
BUILD_DIRECTORY = "build"


@dataclass(frozen=True)
class Workspace:
    """One project's pipelines and bundles, and the paths of their results."""

    project: Project
    pipelines: tuple[LoadedPipeline, ...]
    globs: tuple[str, ...] = ()
    """Cells and bundles that the command is about; all when empty."""
    opened: int = field(default_factory=time.time_ns, compare=False)
    """When its files were begun to be read, in nanoseconds since 1970."""
    bundles: tuple[LoadedBundle, ...] = ()
    """The project's bundles, as far as the command names them or their directory."""
    scope: frozenset[str] = frozenset()
    """The cells of what the arguments name, where more pipelines had to be loaded; all when empty."""

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.project.root

    @property
    def lockfile(self) -> Path:
        """`trtpipe.lock` at the root."""
        return self.root / LOCK_FILE

    @property
    def wheel_lock(self) -> Path:
        """`trtpipe-toolchains.lock` beside it."""
        return self.root / WHEEL_LOCK

    @property
    def build(self) -> Path:
        """The directory that cells are delivered to."""
        return self.root / BUILD_DIRECTORY

    @cached_property
    def store(self) -> LocalStore:
        """The store (`workspace/store_places.py` finds it). Nothing is created yet. Raises SpecError."""
        return open_store(self.project)

    @cached_property
    def state(self) -> ProjectState:
        """What this project's last builds saw."""
        return self._state_in(self.root)

    def of(self, pipeline: LoadedPipeline) -> Workspace:
        """The same project with one pipeline only; store, state and lockfile are shared, so they are read once."""
        found = replace(self, pipelines=(pipeline,))
        vars(found).update(store=self.store, state=self.state, site=self.site)
        return found

    def _state_in(self, folder: Path) -> ProjectState:
        found = ProjectState.load(folder / STATE_FILE)
        found.word = self.store.word
        return found

    @cached_property
    def site(self) -> Site:
        """What running the steps of its pipelines needs."""
        usual = site_of(self.project, self.store, self.state)
        return replace(usual, lockfile=self.lockfile, wheel_lock=self.wheel_lock)

    def with_pipelines(self, pipelines: tuple[LoadedPipeline, ...]) -> Workspace:
        """The same with other pipelines; with the same store and state, which may have been read or changed."""
        made = replace(self, pipelines=pipelines)
        made.__dict__.update(store=self.store, state=self.state)
        return made

    def wants(self, cell: str) -> bool:
        """Whether the command selects this cell, by itself or as one of a bundle's."""
        if self.scope and cell not in self.scope:
            return False
        return not self.globs or self._matches(cell) or cell in self._bundled

    def _matches(self, name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in self.globs)

    @cached_property
    def _bundled(self) -> frozenset[str]:
        """The cells of the bundles that the globs name."""
        return frozenset(cell for one in self.bundles if self._matches(one.name) for cell in one.cells)

    @cached_property
    def whole_bundles(self) -> tuple[LoadedBundle, ...]:
        """The bundles of which the command selects every cell."""
        return tuple(one for one in self.bundles if all(map(self.wants, one.cells)))


def open_workspace(
    arguments: Sequence[str],
    only: Sequence[str] = (),
    cwd: Path | None = None,
    *,
    only_to_look: bool = False,
    leave_out: Collection[Path] = (),
) -> Workspace:
    """Load what the arguments select: specs, directories of specs, or cells (`digits/fp16@ada`, globs allowed).

    `only_to_look` allows links that lead out of the project, because nothing is written then; `leave_out` are specs
    that are not read. Raises SpecError with every problem of every spec.
    """
    opened, cwd = time.time_ns(), cwd or Path.cwd()
    cells = [text for text in arguments if "@" in text and not (cwd / text).exists()]
    specs = [text for text in arguments if text not in cells]
    paths = [path for path in find_pipelines(specs, cwd) if path not in leave_out]
    loaded = load_all(paths, known_names())
    if loaded.problems:
        raise SpecError(loaded.problems)
    workspace = workspace_of(loaded, (*cells, *only), opened)
    _refuse_unmatched(workspace)
    if not only_to_look:
        refuse_foreign_places(workspace.root)
    return workspace


def workspace_of(loaded: Loaded, globs: Sequence[str], opened: int) -> Workspace:
    """The project of what was loaded, begun to be read at `opened`. Raises SpecError if there are several."""
    project, pipelines = _one_project(loaded.pipelines), tuple(loaded.pipelines)
    return Workspace(project, pipelines, tuple(globs), opened, tuple(loaded.bundles), scope_of(loaded))


def scope_of(loaded: Loaded) -> frozenset[str]:
    """The cells of what was named, if pipelines were loaded only because bundles need them."""
    if len(loaded.named) == len(loaded.pipelines):
        return frozenset()
    named = (one for one in loaded.pipelines if one.spec.pipeline in loaded.named)
    return frozenset([*_cells_of(named), *(cell for one in loaded.bundles for cell in one.cells)])


def _one_project(loaded: Sequence[LoadedPipeline]) -> Project:
    roots = list(dict.fromkeys(pipeline.project.root for pipeline in loaded))
    if len(roots) != 1:
        shown = ", ".join(str(root) for root in roots)
        raise SpecError(
            Code.SEVERAL_PROJECTS,
            f"these specs belong to several projects: {shown}",
            "run one command for each project",
        )
    return loaded[0].project


def cell_names(workspace: Workspace) -> list[str]:
    """Every cell of the loaded pipelines."""
    return list(_cells_of(workspace.pipelines))


def cells_for(workspace: Workspace, pipeline: LoadedPipeline, target: str) -> Iterator[str]:
    """A pipeline's cells for a target, and those of bundles' members that are built from it."""
    name = pipeline.spec.pipeline
    yield from (f"{name}/{variant}@{target}" for variant in pipeline.spec.variants)
    for bundle in workspace.bundles:
        for member in bundle.joined:
            served = {bundle.target_of(member, one) for one in bundle.targets}
            if bundle.pipeline_of(member) is pipeline and target in served:
                own = bundle.pipeline_name(member)
                yield from (f"{own}/{variant}@{target}" for variant in bundle.variants_of(member))


def _cells_of(pipelines: Iterable[LoadedPipeline]) -> Iterator[str]:
    for one in pipelines:
        for variant in one.spec.variants:
            yield from (f"{one.spec.pipeline}/{variant}@{target}" for target in one.spec.targets)


def _refuse_unmatched(workspace: Workspace) -> None:
    names = [*cell_names(workspace), *(one.name for one in workspace.bundles)]
    names += [cell for one in workspace.bundles for cell in one.cells if cell not in names]
    problems = [
        Problem(Code.NO_MATCH, f"no cell matches {glob!r}", _nearest_cells(glob, names))
        for glob in workspace.globs
        if not any(fnmatchcase(name, glob) for name in names)
    ]
    if problems:
        raise SpecError(problems)


def _nearest_cells(glob: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(glob, names, n=3, cutoff=0.5)
    if near:
        return "did you mean " + ", ".join(repr(name) for name in near) + "?"
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"the cells are {shown}"
