"""What a bundle is now, compared with the lockfile, without running anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.building.facts import FactFinder
from trtpipe.loader.bundles import LoadedBundle
from trtpipe.loader.project import PIPELINES, beginning, holding, specs_in
from trtpipe.lockfile import Entry, Fact, Lock
from trtpipe.lockfile.comparison import Difference, between
from trtpipe.plan.decisions import Restore, UpToDate

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned

from trtpipe.building.bundles.work import (
    choice_of,
    current_bundles,
    delivered_cells,
    facts_of,
    first_of,
    identity_of,
    noted,
)


def compare_bundles(
    planned: Planned, lock: Lock, exact: Mapping[str, Entry], by_key: Collection[str]
) -> list[Difference]:
    """In what the selected bundles differ from the lockfile, as far as that is known without a build.

    `exact` holds the facts of the cells that are known, `by_key` names those whose engine is the lockfile's.
    """
    known = {**{name: lock.cells[name] for name in by_key}, **exact}
    found: list[Difference] = []
    current = current_bundles(planned)
    for bundle in planned.workspace.whole_bundles:
        locked = lock.bundles.get(bundle.name)
        if locked is not None and bundle.name in current:
            found += between(bundle.name, locked, noted(planned, bundle.name))
            continue
        if locked is None:
            found.append(Difference(bundle.name, "bundle", "not in the lockfile", "to be built"))
            continue
        found += between(bundle.name, locked, _facts_now(planned, bundle, known), _ASKED)
    declared = {one.name for one in planned.workspace.bundles}
    is_bundle = bundles_of(planned)
    gone = [name for name in lock.bundles if name not in declared and not is_bundle(name)]
    return found + [Difference(name, "bundle", "in the lockfile", "not in the project") for name in gone]


@dataclass(frozen=True, slots=True)
class ForeseenBundle:
    """What a build would do with a bundle."""

    name: str
    current: bool
    """Whether it is complete as it is asked for now."""
    facts: Mapping[str, Fact]
    """What the lockfile would say of it, as far as that is known."""
    reasons: tuple[str, ...]
    """What differs from the lockfile."""

    def line(self) -> str:
        """One line below a plan's table."""
        if self.current:
            return f"bundle {self.name} is up to date"
        return f"bundle {self.name} would be completed: {'; '.join(self.reasons) or 'its results are not in build/'}"

    def story(self) -> str:
        """Everything that it is made of."""
        lines = [self.line(), ""]
        for field, fact in self.facts.items():
            inner = fact.items() if isinstance(fact, Mapping) else ()
            lines += (
                [f"{field}:", *(f"  {name}: {text}" for name, text in inner)]
                if inner
                else [f"{field}: {fact}"]
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """The same as a JSON object."""
        return {"current": self.current, "reasons": list(self.reasons), "facts": dict(self.facts)}


def foreseen_bundles(planned: Planned) -> list[ForeseenBundle]:
    """What a build would do with the selected bundles. Raises SpecError."""
    lock, current = planned.site.lock, current_bundles(planned)
    known = _known_entries(planned, lock)
    found = []
    for bundle in planned.workspace.whole_bundles:
        facts = _facts_now(planned, bundle, known)
        locked = lock.bundles.get(bundle.name)
        differences = between(bundle.name, locked, facts, _ASKED) if locked is not None else []
        reasons = [one.line() for one in differences] if locked is not None else ["it is not in the lockfile"]
        found.append(ForeseenBundle(bundle.name, bundle.name in current, facts, tuple(reasons)))
    return found


def _known_entries(planned: Planned, lock: Lock) -> Mapping[str, Entry]:
    """The facts of the cells that are delivered, or whose engine is the one in the lockfile."""
    known: dict[str, Entry] = {name: noted(planned, name) for name in delivered_cells(planned)}
    for cell in planned.plan.cells:
        decision, locked = planned.decisions[cell.steps["build_engine"]], lock.cells.get(cell.name)
        if (
            locked is not None
            and isinstance(decision, (UpToDate, Restore))
            and decision.key == locked.get("key")
        ):
            known.setdefault(cell.name, locked)
    return known


_ASKED = frozenset({"key", "edges", "driver", "data", "golden", "labels", "members"})


def _facts_now(planned: Planned, bundle: LoadedBundle, known: Mapping[str, Entry]) -> dict[str, Fact]:
    """What the lockfile would say of a bundle, without the outcome of its validation."""
    facts = facts_of(bundle, FactFinder(planned.workspace.state, planned.targets))
    choice = choice_of(bundle, known)
    key = "to be built"
    if choice is not None:
        key = identity_of(facts, choice, {name: str(entry["key"]) for name, entry in known.items()})
    return {**facts.facts(), "key": key, "members": _members_now(bundle, known)}


def _members_now(bundle: LoadedBundle, known: Mapping[str, Entry]) -> dict[str, str]:
    """The lockfile's lines about members, as they would be; without the engine of a member that must be built."""
    found: dict[str, str] = {}
    for target in bundle.targets:
        for name in bundle.spec.members:
            cell = first_of(bundle.cells_of(name, target), known)
            wanted = bundle.cells_of(name, target)[0]
            found[f"{target} {name}"] = f"{cell} {known[cell]['engine']}" if cell else f"{wanted} to be built"
    return found


def bundles_of(planned: Planned) -> Callable[[str], bool]:
    """Tells whether the project has a bundle of some name: one that was loaded, or the file of another."""
    loaded = {one.name for one in planned.workspace.bundles}
    places = [planned.workspace.root / PIPELINES, *{one.path.parent for one in planned.workspace.pipelines}]

    def is_bundle(name: str) -> bool:
        files = (file for place in places for file in specs_in(place))
        return name in loaded or bool(holding(files, beginning("bundle", [name])))

    return is_bundle
