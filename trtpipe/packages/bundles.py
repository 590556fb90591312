"""The choice of cells that a bundle was delivered with: `build/BUNDLE/bundle.json`, checked against spec and lockfile.

Only the choice that was validated as a whole is packaged; what was built otherwise since then is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trtpipe.delivery.bundles import RECORD
from trtpipe.errors import PackageError
from trtpipe.files import read_regular
from trtpipe.json_values import JsonObject, Malformed, object_in, objects_in, read_object, text_in
from trtpipe.loader.bundles import LoadedBundle
from trtpipe.lockfile import Entry
from trtpipe.packages.cells import BuiltCell
from trtpipe.problem_codes import Code

_LARGEST = 64 << 20


@dataclass(frozen=True)
class BuiltBundle:
    """A bundle as it was delivered."""

    bundle: LoadedBundle
    file: Path
    targets: Mapping[str, Mapping[str, str]]
    """Target → member → cell."""
    engines: Mapping[str, str]
    """Cell → the BLAKE3 of the engine that the whole was validated for."""

    def refuse_others(self, cells: Mapping[str, BuiltCell]) -> None:
        """Raises PackageError if a cell was built again since, and has another engine."""
        for name, engine in self.engines.items():
            if cells[name].engine_blake3() != engine:
                raise _not_built(self.bundle, f"{name} has another engine than the one it was validated with")


def built_bundle(bundle: LoadedBundle, build: Path, locked: Mapping[str, Entry]) -> BuiltBundle:
    """A bundle's delivered choice. Raises PackageError when there is none, or it is not the spec's any more."""
    path = build / bundle.name / RECORD
    try:
        record = read_object(read_regular(path, _LARGEST))
        found = BuiltBundle(bundle, path, *_choice(record))
        stale = _stale(found, record, locked)
    except FileNotFoundError:
        raise _not_built(bundle, f"there is no {path.name} in {build.name}/{bundle.name}") from None
    except (OSError, Malformed) as error:
        raise _not_built(bundle, f"{path} is damaged: {error}") from error
    if stale:
        raise _not_built(bundle, stale)
    return found


def _choice(record: JsonObject) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The cells by target and member, and their engines. Raises Malformed."""
    targets, engines = {}, {}
    told = object_in(record, "targets")
    for target in told:
        members = object_in(told, target)
        targets[target] = {name: text_in(object_in(members, name), "cell") for name in members}
        for name in members:
            one = object_in(members, name)
            engines[text_in(one, "cell")] = text_in(one, "engine").partition(" ")[0]
    return targets, engines


def _stale(found: BuiltBundle, record: JsonObject, locked: Mapping[str, Entry]) -> str:
    """Why the record is not of today's spec or lockfile; empty if it is. Raises Malformed."""
    bundle = found.bundle
    members = bundle.spec.members
    key = str(locked.get(bundle.name, {}).get("key", ""))
    allowed = {
        target: {member: bundle.cells_of(member, target) for member in members} for target in bundle.targets
    }
    if {target: set(cells) for target, cells in found.targets.items()} != {
        target: set(cells) for target, cells in allowed.items()
    }:
        return "its targets or members are not those of the spec"
    for target, cells in found.targets.items():
        for member, cell in cells.items():
            if cell not in allowed[target][member]:
                return f"{cell} is not allowed for member '{member}' any more"
    if objects_in(record, "edges") != list(edges_of(bundle)):
        return "its edges are not those of the spec"
    return "it is not the one of the lockfile" if key and key != text_in(record, "key") else ""


def edges_of(bundle: LoadedBundle) -> Iterator[JsonObject]:
    """The edges as they stand in the index."""
    for source, edge in bundle.spec.all_edges():
        reshape = None if edge.reshape is None else list(edge.reshape)
        yield {"from": source, "to": edge.to, "reshape": reshape, "cast": edge.cast}


def _not_built(bundle: LoadedBundle, why: str) -> PackageError:
    fact = f"bundle '{bundle.name}' is not built: {why}"
    return PackageError(Code.NOT_BUILT, fact, f"run `trtpipe build {bundle.name}`")
