"""Compares two JSON objects leaf by leaf, without interpreting them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

_DEEPEST = 24


@dataclass(frozen=True, slots=True)
class LeafChange:
    """A changed value by its path, `toolchain.version`; None for a missing side."""

    path: str
    old: object
    new: object


def diff_records(a: object, b: object, *, without: Collection[str] = ()) -> tuple[LeafChange, ...]:
    """The leaves that differ, in A's order, then those that only B has. Keys in `without` are skipped."""
    of_a, of_b = dict(_leaves(a, without)), dict(_leaves(b, without))
    paths = dict.fromkeys((*of_a, *of_b))
    changes = (LeafChange(path, of_a.get(path), of_b.get(path)) for path in paths)
    return tuple(one for one in changes if one.old != one.new)


def _leaves(
    value: object, without: Collection[str], path: str = "", depth: int = 0
) -> Iterator[tuple[str, object]]:
    """The leaves by path. Objects in a list are addressed by their names instead of indices, if they have names."""
    if isinstance(value, Mapping) and value and depth < _DEEPEST:
        for name, inner in value.items():
            if name not in without:
                yield from _leaves(inner, without, f"{path}.{name}" if path else str(name), depth + 1)
    elif (
        isinstance(value, list) and value and depth < _DEEPEST and all(isinstance(o, Mapping) for o in value)
    ):
        for index, inner in enumerate(value):
            name = inner.get("name", index)
            yield from _leaves(inner, without, f"{path}[{name}]", depth + 1)
    else:
        yield path, value
