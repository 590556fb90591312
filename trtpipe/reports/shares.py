"""A pipeline's share of a build's reports: its part of each of them, as text, and what their heads count.

The reports of a build are put together from the shares of its pipelines (`making_shares.py` makes them). A share whose
cells are all up to date is the same in the next build, so it can be kept as a file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from trtpipe.json_values import Malformed
from trtpipe.reports.html import Markup

if TYPE_CHECKING:
    from trtpipe.reports.models import CellRecord

MOST_ROWS = 1500
"""How many cells the page's table has at most."""
_SCHEMA = 1
_TEXTS = ("records", "steps", "suite", "plan")
"""What a file holds as it is, without quotes."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page and the summary show of a cell while they have room."""

    cell: str
    state: str
    row: Markup
    """Of the page's table, leading to the cell's own page."""
    row_inside: Markup
    """The same, leading to the details."""
    details: Markup | None
    """None where the page had no room for them."""
    summary: tuple[str, ...]
    """Of the summary's table."""


@dataclass(slots=True)
class Tests:
    """What a test suite counts."""

    tests: int = 0
    failures: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @classmethod
    def all_of(cls, suites: Iterable[Tests]) -> Tests:
        """Several together."""
        found = cls()
        for one in suites:
            found.tests += one.tests
            found.failures += one.failures
            found.skipped += one.skipped
            found.seconds += one.seconds
        return found


@dataclass(slots=True)
class Share:
    """The share of one pipeline."""

    pipeline: str
    cells: int = 0
    states: Counter[str] = field(default_factory=Counter)
    validated: Counter[str] = field(default_factory=Counter)
    on_gpu: Counter[str] = field(default_factory=Counter)
    networks: int = 0
    """Cells that are proved up to TensorRT's network."""
    unproven: Counter[str] = field(default_factory=Counter)
    """Why engines were not run on a GPU → how many."""
    not_run: dict[str, list[str]] = field(default_factory=dict)
    """What was not run → the cells."""
    missing: list[str] = field(default_factory=list)
    """Cells without an engine."""
    tests: Tests = field(default_factory=Tests)
    shown: list[Shown] = field(default_factory=list)
    """The first cells of a build; of pipelines behind them none is shown."""
    changed: list[CellRecord] = field(default_factory=list)
    """Cells that differ from the lockfile."""
    is_idle: bool = True
    """Whether every step is up to date."""
    records: str = ""
    """The cells in `report.json`."""
    steps: str = ""
    """Its steps there."""
    suite: str = ""
    """Its test suite in JUnit's form."""
    plan: str = ""
    """Its graph and table of steps on the page."""

    def to_bytes(self) -> bytes:
        """The share as a file holds it. Not for a share with changes, which the next build does not tell again."""
        assert not self.changed, "changes are told once"
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        texts = [told.pop(name).encode("utf-8", "surrogatepass") for name in _TEXTS]
        told |= {"schema": _SCHEMA, "lengths": list(map(len, texts))}
        told |= {"tests": asdict(self.tests), "shown": [asdict(one) for one in self.shown]}
        return b"".join((json.dumps(told, separators=(",", ":")).encode(), b"\n", *texts))

    @classmethod
    def of(cls, data: bytes) -> Share:
        """The share that a file holds. Raises Malformed."""
        head, _, rest = data.partition(b"\n")
        try:
            told = json.loads(head)
            if told.pop("schema") != _SCHEMA:
                raise Malformed("a share of another schema")
            return cls(**_fields(told), **_texts(rest, told["lengths"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Malformed("not a share of a report") from error


def _fields(told: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in told.items() if name != "lengths"}
    for name in ("states", "validated", "on_gpu", "unproven"):
        found[name] = Counter(found[name])
    found["tests"] = Tests(**found["tests"])
    found["shown"] = [_shown(**one) for one in found["shown"]]
    return found


def _shown(
    cell: str, state: str, row: str, row_inside: str, details: str | None, summary: list[str]
) -> Shown:
    inside = Markup(details) if details is not None else None
    return Shown(cell, state, Markup(row), Markup(row_inside), inside, tuple(summary))


def _texts(rest: bytes, lengths: list[int]) -> dict[str, Any]:
    if sum(lengths) != len(rest):
        raise Malformed("a share that was cut off")
    found: dict[str, Any] = {}
    at = 0
    for name, length in zip(_TEXTS, lengths, strict=True):
        found[name] = rest[at : at + length].decode("utf-8", "surrogatepass")
        at += length
    return found
