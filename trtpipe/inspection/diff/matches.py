"""Matches the nodes of two graphs: by function, by wiring, by name, by weights, in this order.

Nodes that compute the same are paired first, so that renaming and reordering are not changes. Then a node is paired
with one of the same operator that reads the same values, or is read at the same place; then by name; then by weights.
Unpaired nodes at the same place, or with the same name, count as replaced by another operator. Wiring comes before
names because exporters renumber names when a node is inserted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from trtpipe.inspection.diff.graphs import GraphView, Identities, Vertex, identify, shared

_WEIGHT = "a weight"
_MOST_ROUNDS = 100


@dataclass(slots=True)
class Matching:
    """Pairs of vertices, by index; `same` are vertices of A that compute exactly the same as their partners."""

    a: GraphView
    b: GraphView
    partner: dict[int, int] = field(default_factory=dict)
    """Index in A → index in B."""
    back: dict[int, int] = field(default_factory=dict)
    same: set[int] = field(default_factory=set)
    inputs: dict[str, str] = field(default_factory=dict)
    """Input of A → input of B."""
    of_a: dict[str, int] = field(default_factory=dict)
    """Value of A → what it is a function of; equal numbers in `of_b` mean the same function."""
    of_b: dict[str, int] = field(default_factory=dict)

    def pair(self, one: Vertex, other: Vertex) -> None:
        """Pairs two vertices that have no partner yet."""
        self.partner[one.index] = other.index
        self.back[other.index] = one.index

    def pairs(self) -> Iterator[tuple[Vertex, Vertex]]:
        """The pairs, in A's order."""
        for index in sorted(self.partner):
            yield self.a.vertices[index], self.b.vertices[self.partner[index]]

    def free_a(self) -> list[Vertex]:
        """The vertices of A without a partner."""
        return [one for one in self.a.vertices if one.index not in self.partner]

    def free_b(self) -> list[Vertex]:
        """The vertices of B without a partner."""
        return [one for one in self.b.vertices if one.index not in self.back]

    def in_b(self, value: str) -> Hashable | None:
        """The counterpart in B of a value of A: another value's place, or a weight; None without a partner."""
        if not value:
            return ""
        if value in self.a.weights:
            return _WEIGHT
        if value in self.inputs:
            return ("input", self.inputs[value])
        made = self.a.producers.get(value)
        if made is None:
            return ("outer", value) if value not in {info.name for info in self.a.inputs} else None
        partner = self.partner.get(made[0])
        return None if partner is None else ("made", partner, made[1])

    def place_b(self, value: str) -> Hashable:
        """A value of B in the form that `in_b` returns."""
        if not value:
            return ""
        if value in self.b.weights:
            return _WEIGHT
        made = self.b.producers.get(value)
        if made is not None:
            return ("made", *made)
        known = {info.name for info in self.b.inputs}
        return ("input", value) if value in known else ("outer", value)

    def agree(self, one: str, other: str) -> bool:
        """Whether a value of A and one of B correspond; any two weights count as corresponding."""
        known = self.of_a.get(one)
        if known is not None and known == self.of_b.get(other):
            return True
        return self.in_b(one) == self.place_b(other)


def match(a: GraphView, b: GraphView) -> Matching:
    """The pairs of two graphs. Raises ModelError when weights cannot be read."""
    found = Matching(a, b, inputs={one.name: other.name for one, other in shared(a.inputs, b.inputs)})
    _by_function(found)
    for step in (_by_wiring, _by_name, _by_wiring, _by_weights, _by_wiring, _replaced_by_name, _by_wiring):
        step(found)
    _loosely(found)
    _replaced_in_place(found)
    _by_wiring(found)
    return found


def _by_function(found: Matching) -> None:
    numbers = Identities()
    in_b: dict[str, Hashable] = {info.name: info.name for info in found.b.inputs}
    in_a: dict[str, Hashable] = {
        info.name: found.inputs.get(info.name, ("only", info.name)) for info in found.a.inputs
    }
    of_a, found.of_a = identify(found.a, numbers, in_a)
    of_b, found.of_b = identify(found.b, numbers, in_b)
    _pair_groups(found, lambda one: of_a[one.index], lambda one: of_b[one.index], found.free_a())
    found.same = {one for one, other in found.partner.items() if of_a[one] == of_b[other]}


def _by_wiring(found: Matching) -> None:
    """Propagates pairs forwards and backwards until no more are found."""
    before = -1
    while len(found.partner) != before:
        before = len(found.partner)
        _forwards(found)
        _backwards(found)


def _forwards(found: Matching) -> None:
    waiting: dict[Hashable, list[Vertex]] = {}
    for one in found.free_b():
        waiting.setdefault(_read_in_b(found, one), []).append(one)
    readers: dict[str, list[Vertex]] = {}
    for one in found.free_a():
        for value in dict.fromkeys(one.inputs):
            readers.setdefault(value, []).append(one)
    for one in found.a.vertices:
        key = _read_in_a(found, one) if one.index not in found.partner else None
        mates = [other for other in waiting.get(key, ()) if other.index not in found.back] if key else []
        if mates:
            value = next(value for value in one.inputs if found.in_b(value) not in ("", _WEIGHT))
            group = [
                other
                for other in readers[value]
                if other.index not in found.partner and _read_in_a(found, other) == key
            ]
            _pair_alike(found, group, mates)


def _read_in_a(found: Matching, one: Vertex) -> Hashable | None:
    places = tuple(found.in_b(value) for value in one.inputs)
    return None if None in places or not _tells(places) else (one.op, places)


def _read_in_b(found: Matching, one: Vertex) -> Hashable:
    return one.op, tuple(found.place_b(value) for value in one.inputs)


def _tells(places: Iterable[Hashable]) -> bool:
    """Whether a node reads anything other than weights."""
    return any(place not in ("", _WEIGHT) for place in places)


def _backwards(found: Matching) -> None:
    """Pairs the producers of values that outputs and paired nodes read, and continues from each new pair."""
    waiting = sorted(found.partner)
    for info, other in reversed(shared(found.a.outputs, found.b.outputs)):
        waiting += _pair_makers(found, info.name, other.name)
    while waiting:
        index = waiting.pop()
        one, mate = found.a.vertices[index], found.b.vertices[found.partner[index]]
        if len(one.inputs) == len(mate.inputs):
            for value, there in zip(one.inputs, mate.inputs, strict=True):
                waiting += _pair_makers(found, value, there)


def _pair_makers(found: Matching, value: str, other: str) -> list[int]:
    """Pairs the producers of two values if both are free and of the same operator; returns the pair's index."""
    made, there = found.a.producers.get(value), found.b.producers.get(other)
    if made is None or there is None or made[1] != there[1]:
        return []
    one, mate = found.a.vertices[made[0]], found.b.vertices[there[0]]
    if one.index in found.partner or mate.index in found.back or one.op != mate.op:
        return []
    found.pair(one, mate)
    return [one.index]


def _by_name(found: Matching) -> None:
    def key(one: Vertex) -> Hashable | None:
        return (one.op, one.name) if one.name else None

    _pair_groups(found, key, key, found.free_a(), unique=True)


def _by_weights(found: Matching) -> None:
    def key_of(view: GraphView) -> Callable[[Vertex], Hashable | None]:
        def key(one: Vertex) -> Hashable | None:
            held = tuple(view.weight_key(name) for name in one.inputs if name in view.weights)
            return (one.op, tuple(sorted(one.attributes.items())), held) if held else None

        return key

    _pair_groups(found, key_of(found.a), key_of(found.b), found.free_a(), unique=True)


def _replaced_by_name(found: Matching) -> None:
    _pair_groups(
        found, lambda one: one.name or None, lambda one: one.name or None, found.free_a(), unique=True
    )


def _loosely(found: Matching) -> None:
    """Pairs nodes of one operator that read the same values through unpaired nodes, the nearest ones first.

    Exporters write a bias as part of one node or as a second node; the nodes after it should still be paired.
    """
    for _ in range(_MOST_ROUNDS):
        near_a, near_b = _Nearest(found.a, found.partner), _Nearest(found.b, found.back)
        first_a: dict[Hashable, Vertex] = {}
        first_b: dict[Hashable, Vertex] = {}
        for one in found.free_a():
            data = (value for value in one.inputs if value not in found.a.weights)
            places = tuple(found.in_b(near_a.of(value)) for value in data)
            if None not in places and _tells(places):
                first_a.setdefault((one.op, places), one)
        for other in found.free_b():
            data = (value for value in other.inputs if value not in found.b.weights)
            first_b.setdefault((other.op, tuple(found.place_b(near_b.of(value)) for value in data)), other)
        pairs = [(one, first_b[key]) for key, one in first_a.items() if key in first_b]
        if not pairs:
            return
        for one, other in pairs:
            found.pair(one, other)
        _by_wiring(found)


class _Nearest:
    """Follows a chain of unpaired nodes, each of which reads one value besides weights, back to the value before it."""

    def __init__(self, view: GraphView, paired: dict[int, int]) -> None:
        self._view, self._paired = view, paired
        self._known: dict[str, str] = {}

    def of(self, value: str) -> str:
        """The value at the beginning of the chain that ends at this value."""
        passed = []
        while value not in self._known:
            above = self._above(value)
            if above is None:
                break
            passed.append(value)
            value = above
        found = self._known.get(value, value)
        self._known.update(dict.fromkeys(passed, found))
        return found

    def _above(self, value: str) -> str | None:
        made = self._view.producers.get(value)
        if made is None or made[0] in self._paired:
            return None
        read = [
            name for name in self._view.vertices[made[0]].inputs if name and name not in self._view.weights
        ]
        return read[0] if len(read) == 1 else None


def _replaced_in_place(found: Matching) -> None:
    """Pairs nodes of any operator that are the only ones on their side to read the same values."""
    of_a: dict[Hashable, list[Vertex]] = {}
    of_b: dict[Hashable, list[Vertex]] = {}
    for one in found.free_a():
        places = [found.in_b(value) for value in one.inputs]
        if None not in places and _tells(places):
            of_a.setdefault(_data_read(places), []).append(one)
    for other in found.free_b():
        of_b.setdefault(_data_read(found.place_b(value) for value in other.inputs), []).append(other)
    for data, group in of_a.items():
        mates = of_b.get(data, [])
        if len(group) == len(mates) == 1:
            found.pair(group[0], mates[0])


def _data_read(places: Iterable[Hashable | None]) -> Hashable:
    return tuple(place for place in places if place not in ("", _WEIGHT))


def _pair_groups(
    found: Matching,
    key_a: Callable[[Vertex], Hashable | None],
    key_b: Callable[[Vertex], Hashable | None],
    free: Iterable[Vertex],
    *,
    unique: bool = False,
) -> None:
    """Pairs vertices with equal keys; with `unique`, only if each side has one. None means no key."""
    of_a: dict[Hashable, list[Vertex]] = {}
    of_b: dict[Hashable, list[Vertex]] = {}
    for one in free:
        of_a.setdefault(key_a(one), []).append(one)
    for one in found.free_b():
        of_b.setdefault(key_b(one), []).append(one)
    for key, group in of_a.items():
        others = of_b.get(key, [])
        if key is None or not others or (unique and not len(group) == len(others) == 1):
            continue
        _pair_alike(found, group, others)


def _pair_alike(found: Matching, group: list[Vertex], others: list[Vertex]) -> None:
    """Pairs as many as possible: by name, by outputs, by weights, then in order."""

    def held(view: GraphView) -> Callable[[Vertex], Hashable]:
        return lambda one: tuple(view.weight_key(name) for name in one.inputs if name in view.weights)

    _pair_equal(found, group, others, lambda one: one.name, lambda one: one.name)
    _pair_equal(found, group, others, lambda one: one.outputs, lambda one: one.outputs)
    if len(group) > 1 or len(others) > 1:
        _pair_equal(found, group, others, held(found.a), held(found.b))
    left = [one for one in others if one.index not in found.back]
    for one, other in zip((one for one in group if one.index not in found.partner), left, strict=False):
        found.pair(one, other)


def _pair_equal(
    found: Matching,
    group: list[Vertex],
    others: list[Vertex],
    key_a: Callable[[Vertex], Hashable],
    key_b: Callable[[Vertex], Hashable],
) -> None:
    """Pairs vertices with equal keys; empty keys are ignored."""
    waiting: dict[Hashable, list[Vertex]] = {}
    for other in reversed(others):
        if other.index not in found.back:
            waiting.setdefault(key_b(other), []).append(other)
    for one in group:
        key = key_a(one)
        if key and one.index not in found.partner and waiting.get(key):
            found.pair(one, waiting[key].pop())
