"""Compares the cells of two lockfiles, or their bundles, and groups those that changed by what they have in common.

A *cause* is a fact that an engine is made from (its source, its toolchain, …); what follows from it (digests, sizes,
verdicts) is counted. Cells with the same causes, old and new alike, are one group. Facts that this module does not know
are treated as consequences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from trtpipe.json_values import Json
from trtpipe.lockfile import KEEP, Entry, Fact, digest_in

CAUSES = (
    "source",
    "origin",
    "data",
    "golden",
    "calibration",
    "calibration_data",
    "calibration_cache",
    "graft",
    "plugins",
    "toolchain",
    "python",
    "compute_capabilities",
    "address_randomisation",
    "precision",
    "base",
    "edges",
    "driver",
    "labels",
    "members",
)
"""In the order in which they are told; lists of globs to keep follow."""


@dataclass(frozen=True, slots=True)
class FactChange:
    """One fact of a cell, empty if missing. Lists are joined by commas, entries of a mapping are `FACT.NAME`."""

    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class CellChange:
    """The changes of a cell that is in both lockfiles."""

    cell: str
    facts: tuple[FactChange, ...]


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """Cells that changed for the same causes; `why` describes the change if no cause is recorded.

    `follows` counts the cells in which each other fact changed; `bytes` are the sizes of their engines, old and new.
    """

    causes: tuple[FactChange, ...]
    why: str
    cells: tuple[str, ...]
    follows: Mapping[str, int]
    bytes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LockChanges:
    """Cells by name."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[CellChange, ...]
    groups: tuple[CauseGroup, ...]
    unchanged: int

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.changed)

    def to_json(self) -> dict[str, Json]:
        """These changes as plain JSON values."""
        return {"differs": self.any, **asdict(self)}


def diff_locks(a: Mapping[str, Entry], b: Mapping[str, Entry]) -> LockChanges:
    """What changed from the cells of A to those of B."""
    both = sorted(a.keys() & b.keys())
    changed = [CellChange(cell, _facts(a[cell], b[cell])) for cell in both if a[cell] != b[cell]]
    changed = [one for one in changed if one.facts]
    return LockChanges(
        added=tuple(sorted(b.keys() - a.keys())),
        removed=tuple(sorted(a.keys() - b.keys())),
        changed=tuple(changed),
        groups=_groups(changed, a, b),
        unchanged=len(both) - len(changed),
    )


def _facts(old: Entry, new: Entry) -> tuple[FactChange, ...]:
    before, after = dict(_flat(old)), dict(_flat(new))
    names = dict.fromkeys((*before, *after))
    changes = (FactChange(name, before.get(name, ""), after.get(name, "")) for name in names)
    return tuple(one for one in changes if one.old != one.new)


def _flat(entry: Entry) -> Iterator[tuple[str, str]]:
    for field, fact in entry.items():
        if isinstance(fact, Mapping):
            yield from ((f"{field}.{name}", str(text)) for name, text in fact.items())
        else:
            yield field, _text(fact)


def _text(fact: Fact) -> str:
    return fact if isinstance(fact, str) else ", ".join(map(str, fact))


def is_cause(field: str) -> bool:
    """Whether an engine is built from this fact."""
    return field.partition(".")[0] in CAUSES or field.startswith(KEEP)


def _groups(
    changed: Sequence[CellChange], a: Mapping[str, Entry], b: Mapping[str, Entry]
) -> tuple[CauseGroup, ...]:
    """The changed cells grouped by cause, the largest group first."""
    found: dict[tuple[tuple[FactChange, ...], str], list[CellChange]] = {}
    for one in changed:
        causes = tuple(sorted((f for f in one.facts if is_cause(f.field)), key=_order))
        found.setdefault((causes, "" if causes else _why(one)), []).append(one)
    groups = []
    for (causes, why), cells in found.items():
        follows = Counter(f.field for one in cells for f in one.facts if not is_cause(f.field))
        names = tuple(one.cell for one in cells)
        sizes = sum(_size(a[name]) for name in names), sum(_size(b[name]) for name in names)
        groups.append(CauseGroup(causes, why, names, dict(follows), sizes))
    return tuple(sorted(groups, key=lambda group: (-len(group.cells), group.cells)))


def _order(change: FactChange) -> tuple[int, str]:
    field = change.field.partition(".")[0]
    return (CAUSES.index(field) if field in CAUSES else len(CAUSES), change.field)


def _why(change: CellChange) -> str:
    """The explanation of a change whose cause is not in the lockfile."""
    fields = {one.field for one in change.facts}
    if "model" in fields:
        return "the spec, or the packages that make the typed model: its bytes changed, but not the source's"
    if "key" in fields:
        return "the engine's options: profiles, builder options, plugins"
    if "engine" in fields:
        names = "" if "normalised" in fields else ", equal up to generated names"
        return f"a rebuild from the same inputs yielded other bytes{names}"
    return "the proofs"


def _size(entry: Entry) -> int:
    digest = digest_in(entry.get("engine"))
    return digest.size if digest else 0
