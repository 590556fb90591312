"""What the arguments of `trtpipe package` mean: the models of a package, and the cells of each.

Pipelines, variants and cells may be mixed; a bundle is packaged alone, because its members belong together. Each member
of a bundle has one cell for each target: the one that the whole was validated with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import SpecError
from trtpipe.loader.grammar import listed, nearest
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.lockfile import Lock, load_lock
from trtpipe.plan.address import Place
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import BUILD_DIRECTORY, Workspace, cell_names, open_workspace

if TYPE_CHECKING:
    from trtpipe.loader.bundles import LoadedBundle
    from trtpipe.packages.bundles import BuiltBundle


@dataclass(frozen=True)
class AskedModel:
    """A model of the package."""

    name: str
    pipeline: LoadedPipeline
    cells: tuple[str, ...]
    """In order of preference."""
    labels: Mapping[str, Path]
    """Globs of outputs → a file with names of classes; the last match counts."""
    bundle_labels: Mapping[str, Path] = field(default_factory=dict)
    """Globs of `member.output`, which count more."""

    def labels_of(self, output: str) -> Path | None:
        """The file with the names of an output's classes."""
        found = [file for glob, file in self.labels.items() if fnmatchcase(output, glob)]
        whole = f"{self.name}.{output}"
        found += [file for glob, file in self.bundle_labels.items() if fnmatchcase(whole, glob)]
        return found[-1] if found else None


@dataclass(frozen=True)
class Asked:
    """What is to be packaged."""

    workspace: Workspace
    lock: Lock
    models: tuple[AskedModel, ...]
    targets: Mapping[str, Mapping[str, str]]
    """Target → model → its cell."""
    built: BuiltBundle | None = None
    """The bundle, if it is one."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell, once."""
        return tuple(dict.fromkeys(cell for one in self.models for cell in one.cells))


def what_is_asked(names: Sequence[str], cwd: Path) -> Asked:
    """What these arguments mean. Raises TrtpipeError."""
    files = [one for one in names if (cwd / one).is_file()]
    workspace = open_workspace(files, cwd=cwd, only_to_look=True)
    lock = load_lock(workspace.lockfile)
    bundles = [one for one in workspace.bundles if any(_means(name, one, cwd) for name in names)]
    if not bundles:
        return _of_pipelines(names, workspace, lock, cwd)
    if len(names) > 1:
        fact = f"'{bundles[0].name}' is a bundle, which is packaged alone"
        raise SpecError(Code.OPTIONS_EXCLUDE, fact)
    return _of_bundle(bundles[0], workspace, lock)


def _means(name: str, bundle: LoadedBundle, cwd: Path) -> bool:
    """Whether an argument is a bundle's name or its file."""
    return name == bundle.name or ((cwd / name).is_file() and bundle.path.samefile(cwd / name))


def _of_pipelines(names: Sequence[str], workspace: Workspace, lock: Lock, cwd: Path) -> Asked:
    """Each pipeline is a model; its cells are those that the arguments mean, in the order of the spec."""
    wanted = _wanted_cells(names, workspace, cwd)
    models = []
    for one in workspace.pipelines:
        name = one.spec.pipeline
        cells = tuple(cell for cell in wanted if Place.parse(cell).pipeline == name)
        models += [AskedModel(name, one, cells, one.label_files())] if cells else []
    targets: dict[str, dict[str, str]] = {}
    for model in models:
        for cell in model.cells:
            targets.setdefault(Place.parse(cell).target, {}).setdefault(model.name, cell)
    return Asked(workspace, lock, tuple(models), targets)


def _wanted_cells(names: Sequence[str], workspace: Workspace, cwd: Path) -> list[str]:
    """The cells that the arguments mean, in the order of the specs. Raises SpecError."""
    known = cell_names(workspace)
    wanted: set[str] = set()
    for name in names:
        globs = _globs(name, workspace, cwd)
        found = [cell for cell in known if any(fnmatchcase(cell, glob) for glob in globs)]
        if not found:
            raise _unknown(name, workspace, known)
        wanted.update(found)
    return [cell for cell in known if cell in wanted]


def _unknown(name: str, workspace: Workspace, cells: Sequence[str]) -> SpecError:
    called = [one.spec.pipeline for one in workspace.pipelines] + [one.name for one in workspace.bundles]
    near = nearest(name, [*called, *cells])
    advice = f"did you mean {near!r}? " if near else ""
    fact = f"no pipeline, bundle or cell is named {name!r}"
    return SpecError(Code.NO_MATCH, fact, f"{advice}this project has {listed(called)}")


def _globs(name: str, workspace: Workspace, cwd: Path) -> list[str]:
    """The cells that one argument means, as globs: a cell, PIPELINE/VARIANT, a pipeline's name, or a spec's file."""
    if "@" in name:
        return [name]
    path = cwd / name
    if path.is_file():
        same = [one.spec.pipeline for one in workspace.pipelines if one.path.samefile(path)]
        return [f"{pipeline}/*" for pipeline in same]
    return [f"{name}@*" if "/" in name else f"{name}/*"]


def _of_bundle(bundle: LoadedBundle, workspace: Workspace, lock: Lock) -> Asked:
    """Every member with the cells that the whole was validated with. Raises PackageError if it is not built."""
    from trtpipe.packages.bundles import built_bundle

    built = built_bundle(bundle, workspace.root / BUILD_DIRECTORY, lock.bundles)
    own = bundle.label_files()
    models = []
    for member in bundle.spec.members:
        pipeline = bundle.pipeline_of(member)
        order = bundle.variants_of(member)
        chosen = dict.fromkeys(cells[member] for cells in built.targets.values())
        cells = sorted(chosen, key=lambda cell: order.index(Place.parse(cell).variant))
        models.append(AskedModel(member, pipeline, tuple(cells), pipeline.label_files(), own))
    return Asked(workspace, lock, tuple(models), built.targets, built)
