"""The work on a bundle: its files by digest, the cells that its members are, and the step that validates the whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.building.facts import FactFinder, stage_tools
from trtpipe.digests import Digest, key_of
from trtpipe.errors import SpecError
from trtpipe.json_values import Json
from trtpipe.loader.bundles import LoadedBundle, driver_spec, in_order
from trtpipe.lockfile import Entry, Fact, entry_in, shown_digest
from trtpipe.plan.address import Address, address
from trtpipe.plan.decisions import UpToDate
from trtpipe.plan.graph import Cell, FromStep, Input, Source, Step, json_ready
from trtpipe.plan.options import BundleOptions, EdgeOptions
from trtpipe.plan.options.stage_options import UNPLACED
from trtpipe.plan.planner import profiles_record
from trtpipe.plan.planner.facts import MODEL_FILES

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned

Choice = Mapping[str, Mapping[str, str]]
"""Target → member → the cell that it is."""


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """A bundle with the digests of the files that it names."""

    bundle: LoadedBundle
    data: dict[str, Json] | None
    data_sources: tuple[Source, ...]
    golden: tuple[Source, ...]
    code: tuple[Source, ...]
    labels: Mapping[str, Digest]

    def facts(self) -> dict[str, Fact]:
        """What the lockfile says of the bundle itself."""
        found: dict[str, Fact] = {"edges": _edges_of(self.bundle)}
        found |= {name: _digest_of(files) for name, files in self._files() if files}
        if self.labels:
            found["labels"] = {glob: shown_digest(digest) for glob, digest in self.labels.items()}
        return {name: fact for name, fact in found.items() if fact}

    def _files(self) -> Iterator[tuple[str, Sequence[Source]]]:
        yield from (("driver", self.code), ("data", self.data_sources), ("golden", self.golden))


def _digest_of(files: Sequence[Source]) -> str:
    if len(files) == 1:
        return shown_digest(files[0].digest)
    return f"{key_of({one.name: str(one.digest) for one in files})} ({len(files)} files)"


def _edges_of(bundle: LoadedBundle) -> dict[str, str]:
    """Each edge as a line: its input, and what it is made of."""
    return {edge.to: _edge_words(source, edge.reshape, edge.cast) for source, edge in bundle.spec.all_edges()}


def _edge_words(source: str, reshape: Sequence[int] | None, cast: str | None) -> str:
    words = [
        source,
        f"reshaped to {list(reshape)}" if reshape is not None else "",
        f"as {cast}" if cast else "",
    ]
    return " ".join(word for word in words if word)


def facts_of(bundle: LoadedBundle, finder: FactFinder) -> BundleFacts:
    """The bundle's files by digest. Raises SpecError."""
    asked, state = bundle.spec.validate_, finder.state
    data: dict[str, Json] | None = None
    sources: tuple[Source, ...] = ()
    if asked is not None and asked.data is not None:
        data, sources = finder.dataset(bundle.project, asked.data)
    elif asked is not None and asked.random is not None:
        data = {"random": json_ready(asked.random.model_dump())}
    golden = bundle.files.get(("validate", "golden"))
    recorded = (Source("golden.npz", golden, state.digest(golden)),) if golden is not None else ()
    labels = {glob: state.digest(file) for glob, file in bundle.label_files().items()}
    return BundleFacts(bundle, data, sources, recorded, _code(bundle, finder), labels)


def _code(bundle: LoadedBundle, finder: FactFinder) -> tuple[Source, ...]:
    """The driver's module and the files that it declares."""
    if bundle.spec.python is None:
        return ()
    from trtpipe.datasets.locations.projects import ProjectFiles
    from trtpipe.datasets.python import reader

    try:
        files = reader.files(driver_spec(bundle.spec), ProjectFiles(bundle.project))
    except SpecError as error:
        raise SpecError([bundle.locate(problem) for problem in error.problems]) from error
    return tuple(Source(name, file, finder.state.digest(file)) for name, file in sorted(files.items()))


def choice_of(bundle: LoadedBundle, delivered: Collection[str]) -> Choice | None:
    """The cell of each member for each target: the first allowed one that is delivered; None if one has none."""
    found = {
        target: {name: first_of(bundle.cells_of(name, target), delivered) for name in bundle.spec.members}
        for target in bundle.targets
    }
    chosen = {
        target: {name: cell for name, cell in members.items() if cell is not None}
        for target, members in found.items()
    }
    return chosen if all(len(one) == len(bundle.spec.members) for one in chosen.values()) else None


def first_of(cells: Sequence[str], delivered: Collection[str]) -> str | None:
    """The first of some cells that is delivered; None if none is."""
    return next((cell for cell in cells if cell in delivered), None)


def delivered_cells(planned: Planned) -> set[str]:
    """The cells of the plan that are delivered and whose steps are all up to date."""
    decisions = planned.decisions
    return {
        cell.name
        for cell in planned.plan.cells
        if cell.name not in planned.undelivered
        and all(isinstance(decisions[one], UpToDate) for one in cell.steps.values())
    }


@dataclass(frozen=True, slots=True)
class BundleWork:
    """A bundle whose members' cells are chosen: its validation's step, and what identifies its result."""

    facts: BundleFacts
    choice: Choice
    steps: Mapping[str, Step]
    """Target → the step that validates the whole for it; targets whose members have the same variants share it."""
    cells: Mapping[str, Cell]

    @property
    def bundle(self) -> LoadedBundle:
        """The bundle."""
        return self.facts.bundle

    def content(self, keys: Mapping[str, str]) -> str:
        """The digest of all that the bundle's files here depend on; `keys` are those of the cells' engines."""
        used = {target: [step.options.record(), dict(step.tools)] for target, step in self.steps.items()}
        return key_of({"key": self.key(keys), "steps": used})

    def key(self, keys: Mapping[str, str]) -> str:
        """The digest of what the bundle is."""
        return identity_of(self.facts, self.choice, keys)


def identity_of(facts: BundleFacts, choice: Choice, keys: Mapping[str, str]) -> str:
    """The digest of what a bundle is, for the lockfile: without versions of packages, which may differ."""
    spec, asked = facts.bundle.spec, facts.bundle.spec.validate_
    return key_of(
        {
            "schema": 1,
            "facts": json_ready(facts.facts()),
            "order": list(spec.members),
            "outputs": list(spec.outputs),
            "data": {name: value for name, value in (facts.data or {}).items() if name != "packages"},
            "validate": json_ready(asked.model_dump(mode="json")) if asked is not None else None,
            "package": json_ready(spec.package.model_dump(mode="json")),
            "cells": {target: dict(cells) for target, cells in choice.items()},
            "keys": {cell: keys[cell] for cells in choice.values() for cell in cells.values()},
        }
    )


def work_on(planned: Planned, bundle: LoadedBundle, delivered: Collection[str]) -> BundleWork | None:
    """The work on a bundle; None if a member has no delivered cell for some target. Raises SpecError."""
    choice = choice_of(bundle, delivered)
    if choice is None:
        return None
    facts = facts_of(bundle, FactFinder(planned.workspace.state, planned.targets))
    cells = {cell.name: cell for cell in planned.plan.cells}
    steps = _validations(planned, facts, choice, cells) if bundle.spec.validate_ is not None else {}
    return BundleWork(facts, choice, steps, cells)


def _validations(
    planned: Planned, facts: BundleFacts, choice: Choice, cells: Mapping[str, Cell]
) -> dict[str, Step]:
    found: dict[tuple[Address, ...], Step] = {}
    taken: dict[str, Step] = {}
    for target, members in choice.items():
        typed = tuple(cells[cell].steps["quantize"] for cell in members.values())
        if typed not in found:
            place = address("validate", facts.bundle.name, "", "" if not found else target)
            found[typed] = _validation(
                planned, facts, place, {name: cells[cell] for name, cell in members.items()}
            )
        taken[target] = found[typed]
    return taken


def _validation(planned: Planned, facts: BundleFacts, place: Address, members: Mapping[str, Cell]) -> Step:
    """The step that runs the whole with these cells' typed models."""
    inputs: dict[str, tuple[Input, ...]] = {}
    for name, cell in members.items():
        canonical = cell.steps.get("transform") or cell.steps["import"]
        inputs[f"typed.{name}"] = (FromStep(cell.steps["quantize"], MODEL_FILES),)
        inputs[f"reference.{name}"] = (FromStep(canonical, MODEL_FILES),)
    given = {"data": facts.data_sources, "golden": facts.golden, "code": facts.code}
    inputs |= {slot: files for slot, files in given.items() if files}
    return Step(place, _options(facts), {**stage_tools()["validate"]}, inputs)


def _options(facts: BundleFacts) -> BundleOptions:
    spec = facts.bundle.spec
    asked = spec.validate_
    assert asked is not None, "only bundles with `validate` are validated"
    profiles = {}
    if asked.random is not None:
        pipelines = {name: facts.bundle.pipeline_of(name).spec for name in spec.members}
        profiles = {name: profiles_record(one.profiles)[0] for name, one in pipelines.items() if one.profiles}
    return BundleOptions(
        members=in_order(spec) if spec.python is None else list(spec.members),
        edges=[EdgeOptions(source, edge.to, edge.reshape, edge.cast) for source, edge in spec.all_edges()],
        joined=[edge.to for member in facts.bundle.joined for _, edge in facts.bundle.changes_into(member)],
        outputs=spec.outputs,
        data=facts.data,
        samples=asked.samples,
        profiles=profiles,
        driver=spec.python,
        origins=UNPLACED,
    )


def engine_keys(planned: Planned) -> dict[str, str]:
    """Cell → the key of its engine, of those whose engine's step is up to date."""
    state, found = planned.workspace.state, {}
    for cell in planned.plan.cells:
        key = state.last_key(cell.steps["build_engine"])
        if key is not None:
            found[cell.name] = key
    return found


def stale_bundles(planned: Planned) -> list[LoadedBundle]:
    """The selected bundles whose result is not the one that their files and cells ask for now. Raises SpecError."""
    delivered, keys = delivered_cells(planned), engine_keys(planned)
    return [one for one in planned.workspace.whole_bundles if not _is_current(planned, one, delivered, keys)]


def _is_current(
    planned: Planned, bundle: LoadedBundle, delivered: Collection[str], keys: Mapping[str, str]
) -> bool:
    work = work_on(planned, bundle, delivered)
    return work is not None and planned.workspace.state.delivered(bundle.name, work.content(keys))


def current_bundles(planned: Planned) -> list[str]:
    """The names of the selected bundles that are complete."""
    if not planned.workspace.bundles:
        return []
    stale = {one.name for one in stale_bundles(planned)}
    return [one.name for one in planned.workspace.whole_bundles if one.name not in stale]


def complete_now(planned: Planned) -> set[str]:
    """The selected bundles that are complete, also just after a build: by what is delivered, not by decisions."""
    state = planned.workspace.state
    delivered = {cell.name for cell in planned.plan.cells if state.lock_text(cell.name) is not None}
    keys = engine_keys(planned)
    return {one.name for one in planned.workspace.whole_bundles if _is_current(planned, one, delivered, keys)}


def noted(planned: Planned, name: str) -> Entry:
    """The lock entry of a delivered cell or bundle."""
    return entry_in(planned.workspace.state.lock_text(name) or "")
