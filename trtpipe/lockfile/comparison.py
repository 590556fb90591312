"""Compares a lockfile with the current state: cell, field, old value and new. Pure functions, no I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtpipe.errors import LockMismatch, Problem
from trtpipe.lockfile.entries import CIRCUMSTANCES, FIELDS, Entry, Fact
from trtpipe.lockfile.measurements import same_fact
from trtpipe.problem_codes import Code

NOTHING = "(none)"
_MOST_CELLS = 6
_LONG = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a cell, or one step that it needs, in which the lockfile differs from the current state."""

    cell: str
    field: str
    old: str
    new: str

    def to_json(self) -> dict[str, str]:
        """The difference as a JSON object."""
        return {"cell": self.cell, "field": self.field, "old": self.old, "new": self.new}

    def line(self) -> str:
        """The difference on one line, without its cell; digests are shortened."""
        return f"{self.field}: {_LONG.sub(_short, self.old)} -> {_LONG.sub(_short, self.new)}"


def _short(match: re.Match[str]) -> str:
    return match[0][:12]


def between(cell: str, old: Entry, new: Entry, fields: Collection[str] | None = None) -> list[Difference]:
    """Every field in which two entries differ; of all fields but circumstances, or of some only."""
    named = [*FIELDS, *sorted((old.keys() | new.keys()) - set(FIELDS))]
    found: list[Difference] = []
    for field in named:
        if field in CIRCUMSTANCES or (fields is not None and field not in fields):
            continue
        if field == "python" and old.get("key") == new.get("key"):  # the difference does not matter then
            continue
        if not same_fact(field, old.get(field), new.get(field)):
            found += _differing(cell, field, old.get(field), new.get(field))
    return found


def _differing(cell: str, field: str, old: Fact | None, new: Fact | None) -> Iterator[Difference]:
    if isinstance(old, Mapping) or isinstance(new, Mapping):
        before, now = _by_name(old), _by_name(new)
        for name in sorted(before.keys() | now.keys()):
            if not same_fact(field, {name: before.get(name, "")}, {name: now.get(name, "")}):
                shown = f"{field} {name}" if name else field
                yield Difference(cell, shown, before.get(name, NOTHING), now.get(name, NOTHING))
    else:
        yield Difference(cell, field, _shown(old), _shown(new))


def _by_name(fact: Fact | None) -> Mapping[str, str]:
    """A fact's texts by name; schema 1 had a single text without a name."""
    if isinstance(fact, Mapping):
        return fact
    return {"": _shown(fact)} if fact else {}


def _shown(fact: Fact | None) -> str:
    if not fact:
        return NOTHING
    return fact if isinstance(fact, str) else " ".join(map(str, fact))


def grouped(differences: Iterable[Difference]) -> list[tuple[list[str], list[str]]]:
    """Groups cells that differ in the same way, with lines that describe the difference."""
    lines: dict[str, list[str]] = {}
    for one in differences:
        lines.setdefault(one.cell, []).append(one.line())
    cells: dict[tuple[str, ...], list[str]] = {}
    for cell, said in lines.items():
        cells.setdefault(tuple(said), []).append(cell)
    return [(names, list(said)) for said, names in cells.items()]


def cell_words(cells: Sequence[str]) -> str:
    """The cells' names; if there are many, only the first few."""
    more = len(cells) - _MOST_CELLS
    return ", ".join(cells[:_MOST_CELLS]) + (f" and {more} more" if more > 0 else "")


def mismatch(differences: Sequence[Difference], remedy: str) -> LockMismatch:
    """One error that lists all differences, old value and new."""
    problems = [
        Problem(Code.LOCK_DIFFERS, f"{cell_words(cells)}: differs from the lockfile", "\n".join(lines))
        for cells, lines in grouped(differences)
    ]
    last = problems[-1]
    problems[-1] = Problem(last.code, last.fact, f"{last.remedy}\n{remedy}")
    return LockMismatch(problems)
