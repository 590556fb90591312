"""What became of a cell since the lockfile was written: field by field, old value and new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_ORDER = ("engine", "normalised", "model", "source", "toolchain")


def changes_between(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of `field`, `old` and `new` (None where there is none); everything new when there was no old entry."""
    before = old or {}
    names = [
        *(name for name in _ORDER if name in before or name in new),
        *(name for name in new if name not in _ORDER),
        *(name for name in before if name not in _ORDER and name not in new),
    ]
    return [
        {"field": name, "old": _fact(before.get(name)), "new": _fact(new.get(name))}
        for name in names
        if _fact(before.get(name)) != _fact(new.get(name))
    ]


def _fact(value: Any) -> str | list[str] | None:
    """A fact as the lockfile holds it; one that is empty is not written there."""
    if not value:
        return None
    if isinstance(value, Mapping):
        return [f"{name}: {one}" for name, one in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(one) for one in value]
    return str(value)
