"""Assignments of precisions to units, and the choice that each results in: a precision, its base, and a `keep` map.

A ladder is the list of precisions that a unit may have, cheapest first: `int8, fp16, fp32`. The first is the precision
of the resulting variant, the others are those that it can keep nodes in. If the first one quantizes, the second is its
base: the type of nodes that are not quantized.

A choice is ordinary spec content: written into a spec by hand it yields the same typed model.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.json_values import Json, JsonObject, Malformed, object_in, read_object, text_in, texts_in
from trtpipe.problem_codes import Code
from trtpipe.search.units import Unit

if TYPE_CHECKING:
    from pathlib import Path

    from trtpipe.json_values import Json, JsonObject

Assignment = tuple[int, ...]
"""The level of each unit, as an index into the ladder."""

SCHEMA = 1
"""Of a choice's file."""
WIDEST = "fp32"
_SCOPED = re.compile(r"[A-Za-z_]+:")


@dataclass(frozen=True, slots=True)
class Choice:
    """The result of a search, as a variant would declare it."""

    precision: str
    base: str | None = None
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Precision → globs, as in a spec."""

    def to_json(self) -> dict[str, Json]:
        """The choice as a JSON object; keys and values in a fixed order."""
        keep: Json = {name: list(globs) for name, globs in sorted(self.keep.items()) if globs}
        return {"precision": self.precision, "base": self.base, "keep": keep}

    @classmethod
    def from_json(cls, data: JsonObject) -> Choice:
        """The choice read back. Raises Malformed."""
        kept = object_in(data, "keep")
        keep = {name: tuple(texts_in(kept, name)) for name in kept}
        base = None if data.get("base") is None else text_in(data, "base")
        return cls(text_in(data, "precision"), base, keep)


def choice_text(choice: Choice) -> str:
    """The contents of a choice file; equal choices give equal text."""
    return json.dumps({"schema": SCHEMA, **choice.to_json()}, indent=1, sort_keys=True) + "\n"


def read_choice(path: Path, candidates: Collection[str]) -> Choice:
    """The choice among candidates in a file that a search left. Raises ModelError when it is invalid."""
    try:
        choice = Choice.from_json(read_object(path.read_bytes()))
        for name in (choice.precision, choice.base):
            if name is not None and name not in candidates:
                raise Malformed(f"{name!r} is not among {', '.join(candidates)}")
    except (OSError, Malformed) as error:
        raise ModelError(
            Code.RECORD_DAMAGED, f"'{path.name}' holds no choice of precisions: {error}"
        ) from error
    return choice


@dataclass(frozen=True, slots=True)
class Ladder:
    """Precisions from the cheapest to the widest."""

    levels: tuple[str, ...]
    quantizes: bool
    """Whether the first one quantizes operands."""
    keeps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Each level → the precisions that it can keep nodes in."""

    @property
    def head(self) -> str:
        """The cheapest precision."""
        return self.levels[0]

    @property
    def base(self) -> str | None:
        """The type of unquantized nodes under a quantizing head; None for a floating-point head."""
        return self.levels[1] if self.quantizes else None

    @property
    def widest(self) -> int:
        """The level of the widest precision."""
        return len(self.levels) - 1

    def lowest(self, unit: Unit) -> int:
        """The cheapest level that a unit can have."""
        return 1 if self.quantizes and not unit.quantized else 0

    def uniform(self, units: Sequence[Unit], level: int) -> Assignment:
        """Every unit at a level, or at its own cheapest where that is wider."""
        return tuple(max(level, self.lowest(unit)) for unit in units)


def ladders_of(
    candidates: Sequence[str], quantized: Iterable[str], keeps: Mapping[str, tuple[str, ...]]
) -> tuple[Ladder, ...]:
    """The ladders that try every candidate: each begins with a precision that the earlier ladders do not contain."""
    wanted = list(dict.fromkeys((*candidates, WIDEST)))
    narrow = set(quantized)
    found: list[Ladder] = []
    for index, head in enumerate(wanted):
        if any(head in ladder.levels for ladder in found):
            continue
        after = tuple(one for one in wanted[index + 1 :] if one in keeps.get(head, ()))
        levels = (head, *after)
        found.append(Ladder(levels, head in narrow, {one: keeps.get(one, ()) for one in levels}))
    return tuple(found)


def choice_of(
    ladder: Ladder,
    units: Sequence[Unit],
    assigned: Assignment,
    held: Mapping[str, tuple[str, ...]] | None = None,
) -> Choice:
    """The choice that corresponds to an assignment; `held` are globs that the spec always keeps.

    If no unit uses the cheapest precision, the next one becomes the head, if it can keep the rest.
    """
    held = {name: globs for name, globs in (held or {}).items() if globs}
    first = min(assigned, default=ladder.widest)
    plain = ladder.levels[first]
    used = {ladder.levels[level] for level in assigned} | set(held)
    if not (ladder.quantizes and first == 0) and used - {plain} <= set(ladder.keeps.get(plain, ())):
        return Choice(plain, None, _kept(ladder, units, assigned, held, plain))
    return Choice(ladder.head, ladder.base, _kept(ladder, units, assigned, held, ladder.head))


def _kept(
    ladder: Ladder,
    units: Sequence[Unit],
    assigned: Assignment,
    held: Mapping[str, tuple[str, ...]],
    plain: str,
) -> dict[str, tuple[str, ...]]:
    """Precision → globs. For units kept in the base, only nodes that would be quantized need a glob."""
    # the head's own glob also overrides nodes that are wide by default
    own = plain in ladder.keeps.get(plain, ())
    found = {name: list(globs) for name, globs in held.items() if name != plain or own}
    in_base = ladder.base if plain == ladder.head else None
    for unit, level in zip(units, assigned, strict=True):
        name = ladder.levels[level]
        if name == plain:
            continue
        nodes = unit.quantized if name == in_base else unit.nodes
        found.setdefault(name, []).extend(exactly(node) for node in nodes)
    return {name: tuple(globs) for name, globs in sorted(found.items()) if globs}


def exactly(node: str) -> str:
    """A glob that matches this node's name only: special characters are written as a set of one character."""
    escaped = glob.escape(node)
    return f"[{node[0]}]{escaped[1:]}" if _SCOPED.match(node) else escaped
