"""The changes of a cell since the lockfile was written: field by field, old value and new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtpipe.reports.models import Change, Fact

_ORDER = ("engine", "normalised", "model", "source", "toolchain")


def changes_between(old: Mapping[str, object] | None, new: Mapping[str, object]) -> tuple[Change, ...]:
    """Every fact that differs, with None for a missing side; without an old entry, every fact is new."""
    before = old or {}
    names = [
        *(name for name in _ORDER if name in before or name in new),
        *(name for name in new if name not in _ORDER),
        *(name for name in before if name not in _ORDER and name not in new),
    ]
    told = [Change(field=name, old=_fact(before.get(name)), new=_fact(new.get(name))) for name in names]
    return tuple(one for one in told if one.old != one.new)


def _fact(value: object) -> Fact:
    """A fact as the lockfile holds it; empty facts are not written there."""
    if not value:
        return None
    if isinstance(value, Mapping):
        return tuple(f"{name}: {one}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(str(one) for one in value)
    return str(value)
