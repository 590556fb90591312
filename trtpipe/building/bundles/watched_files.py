"""The files that bundles depend on, besides those of their members' pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.building.bundles.work import facts_of
from trtpipe.building.facts import FactFinder
from trtpipe.building.unchanged.seen_files import Known
from trtpipe.building.unchanged.watched_files import folders_of_samples, installed, known_of
from trtpipe.json_values import object_in
from trtpipe.loader.project import PIPELINES, specs_in

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned
    from trtpipe.loader.bundles import LoadedBundle


def files_of_bundles(planned: Planned, arguments: Sequence[str]) -> Known | None:
    """What the bundles of a command depend on; None if some of it was changed since the plan was begun."""
    workspace = planned.workspace
    finder = FactFinder(workspace.state, planned.targets)
    own = [path for one in workspace.bundles for path in _own(planned, one, finder)]
    # a file or folder of a bundle's name would be meant in its place
    return known_of([*_specs(planned), *own, *(Path.cwd() / text for text in arguments)], workspace.opened)


def _specs(planned: Planned) -> Iterator[Path]:
    """The folders in which members are looked for by their pipelines' names, and every spec there."""
    root = planned.workspace.root
    for home in dict.fromkeys([root / PIPELINES, *(one.path.parent for one in planned.workspace.bundles)]):
        if home != root:
            yield home
        yield from specs_in(home)


def _own(planned: Planned, bundle: LoadedBundle, finder: FactFinder) -> Iterator[Path]:
    facts = facts_of(bundle, finder)
    yield from bundle.files.values()
    for sources in (facts.data_sources, facts.golden, facts.code):
        yield from (source.path for source in sources)
    yield from folders_of_samples(planned, facts.data or {})
    yield from folders_of_samples(planned, {"spec": {"files": bundle.spec.files}})
    if facts.data is not None and "packages" in facts.data:
        yield from installed(object_in(facts.data, "packages"))
