"""The names of classes that belong to a model itself: those of its spec's `package.labels`, or of the package it is in.

A spec that cannot be read hides no result: what is wrong with it becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from trtpipe.app.engines.packaged import packaged_cell
from trtpipe.app.engines.places import Place
from trtpipe.app.engines.results import read_labels
from trtpipe.errors import TrtpipeError
from trtpipe.loader.labels import named_labels
from trtpipe.loader.project import PIPELINES, beginning, find_root, holding, load_project, specs_in
from trtpipe.loader.specs import complete_document
from trtpipe.plan.address import Place as CellPlace


@dataclass(frozen=True)
class OwnLabels:
    """Globs of outputs → the names of their classes, the last match counts; and why some cannot be used."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    member: str = ""
    """What stands before outputs in the globs: `rec.` for a bundle's member."""

    def of(self, output: str) -> tuple[str, ...]:
        """The names of an output's classes; none if nobody named them."""
        found = [names for glob, names in self.names.items() if fnmatchcase(self.member + output, glob)]
        return found[-1] if found else ()


def own_labels(place: Place) -> OwnLabels:
    """The names that belong to a cell, wherever it lies: in a project's `build/`, or in a package."""
    cell = (place.manifest or {}).get("cell")
    if not isinstance(cell, str):
        return OwnLabels()
    folder = place.folder.absolute()
    try:
        packaged = dict(_of_package(folder, cell))
        if packaged:
            return OwnLabels({output: _names(file) for output, file in packaged.items()})
        root, name = find_root(folder), CellPlace.parse(cell).pipeline
        found = dict(_of_spec(root, "pipeline", name))
        if found or "." not in name:
            return OwnLabels({glob: _names(file) for glob, file in found.items()})
        bundle, _, member = name.partition(".")
        found = dict(_of_member(root, bundle, member))
        return OwnLabels({glob: _names(file) for glob, file in found.items()}, member=f"{member}.")
    except TrtpipeError as error:
        return OwnLabels(notes=(f"no names of classes are shown: {error.problems[0].fact}",))


def _of_package(folder: Path, cell: str) -> Iterator[tuple[str, Path]]:
    found = packaged_cell(folder, cell)
    if found is not None:
        yield from ((output, found.package / file) for output, file in found.model.labels.items())


def _of_spec(root: Path, kind: str, name: str) -> Iterator[tuple[str, Path]]:
    """Globs and files of labels of the pipeline or bundle of that name. Raises SpecError."""
    for path in holding(specs_in(root / PIPELINES), beginning(kind, [name])):
        project, data = load_project(root), complete_document(path).data
        for place, text in [*named_labels(data.get("package"), ("package",)), *named_labels(data, ())]:
            glob = "*" if place[-1] == "labels" else str(place[-1])
            yield glob, project.resolve_source(text, place)


def _of_member(root: Path, bundle: str, member: str) -> Iterator[tuple[str, Path]]:
    """The labels of a member that is built for its bundle: its pipeline's, and the bundle's, which count more."""
    for path in holding(specs_in(root / PIPELINES), beginning("bundle", [bundle])):
        members = complete_document(path).data.get("members")
        told = members.get(member) if isinstance(members, Mapping) else None
        pipeline = told.get("pipeline") if isinstance(told, Mapping) else str(told).partition("/")[0]
        yield from ((f"{member}.{glob}", file) for glob, file in _of_spec(root, "pipeline", str(pipeline)))
        yield from _of_spec(root, "bundle", bundle)


def _names(file: Path) -> tuple[str, ...]:
    found = read_labels(file, None)
    assert found is not None, "a file was given"
    return found.names
