"""The names of classes that belong to a model itself: those of its spec's `package.labels`, or of the package it is in.

A spec that cannot be read hides no result: what is wrong with it becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from trtpipe.app.engines.places import Place
from trtpipe.app.engines.results import read_labels
from trtpipe.errors import TrtpipeError
from trtpipe.loader.labels import named_labels
from trtpipe.loader.project import PIPELINES, beginning, find_root, holding, load_project, specs_in
from trtpipe.loader.specs import complete_document
from trtpipe.packages.index import INDEX
from trtpipe.packages.index_file import read_index
from trtpipe.plan.address import Place as CellPlace

_ABOVE = 3
"""How many folders below its package an engine lies: `models/NAME/CELL`."""


@dataclass(frozen=True)
class OwnLabels:
    """Globs of outputs → the names of their classes, the last match counts; and why some cannot be used."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, output: str) -> tuple[str, ...]:
        """The names of an output's classes; none if nobody named them."""
        found = [names for glob, names in self.names.items() if fnmatchcase(output, glob)]
        return found[-1] if found else ()


def own_labels(place: Place) -> OwnLabels:
    """The names that belong to a cell, wherever it lies: in a project's `build/`, or in a package."""
    cell = (place.manifest or {}).get("cell")
    if not isinstance(cell, str):
        return OwnLabels()
    folder = place.folder.absolute()
    try:
        packaged = dict(_of_package(folder, cell))
        found = packaged or dict(_of_spec(folder, CellPlace.parse(cell).pipeline))
        return OwnLabels({glob: _names(file) for glob, file in found.items()})
    except TrtpipeError as error:
        return OwnLabels(notes=(f"no names of classes are shown: {error.problems[0].fact}",))


def _of_package(folder: Path, cell: str) -> Iterator[tuple[str, Path]]:
    package = folder.parents[_ABOVE - 1] if len(folder.parents) >= _ABOVE else folder
    if (package / INDEX).is_file():
        for model in read_index(package).models:
            if any(engine.cell == cell for engine in model.engines):
                yield from ((output, package / file) for output, file in model.labels.items())


def _of_spec(folder: Path, pipeline: str) -> Iterator[tuple[str, Path]]:
    root = find_root(folder)
    for path in holding(specs_in(root / PIPELINES), beginning("pipeline", [pipeline])):
        project, data = load_project(root), complete_document(path).data
        for place, text in named_labels(data.get("package"), ("package",)):
            glob = str(place[-1]) if len(place) > 2 else "*"
            yield glob, project.resolve_source(text, place)


def _names(file: Path) -> tuple[str, ...]:
    found = read_labels(file, None)
    assert found is not None, "a file was given"
    return found.names
