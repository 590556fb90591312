"""A good JSON record with anything in any of its places: what a reader has to refuse, or can read.

A test goes through all damages of a record and names the one that something else than a refusal comes of:

    for damage in damages(GOOD): with damage.assert_raises_only(): path.write_text(damage.text); …
"""

from __future__ import annotations

import contextlib
import copy
import json
from dataclasses import dataclass

_AS_TEXT = {
    "1e999": "1e999",
    "a huge integer": "1" + "0" * 400,
    "a deep list": "[" * 100_000 + "]" * 100_000,
}
"""What `json.dumps` does not write, by what stands for it until the record is text."""
ANYTHING = (
    None, True, 0, -1, 0.5, 2**70, float("nan"), float("inf"), "", "x", "\0", "\ud800", "../x", [], [[]], ["x"],
    [None], {}, {"x": 1}, {"x": {}}, *_AS_TEXT,
)  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """One damaged record."""

    what: str
    record: object
    """As Python has it; stand-ins where only text can hold it."""

    @property
    def text(self) -> str:
        """The record's JSON."""
        text = json.dumps(self.record)
        for name, written in _AS_TEXT.items():
            text = text.replace(json.dumps(name), written)
        return text

    @contextlib.contextmanager
    def assert_raises_only(self, *allowed: type[Exception]):
        """Lets these errors pass; any other is told with the damage that it came of."""
        try:
            yield
        except allowed:
            pass
        except Exception as error:
            raise AssertionError(f"{self.what}: {type(error).__name__}: {str(error)[:300]}") from error


def damages(good):
    """Every damage of a record: anything in any place, every key and entry left out."""
    for path in _paths(good):
        at = "".join(f"[{part!r}]" for part in path) or "the whole"
        for value in ANYTHING:
            yield Damage(f"{at} = {_short(value)}", _with(good, path, value))
        if path:
            yield Damage(f"{at} is left out", _without(good, path))


def _paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from _paths(below, (*path, key))


def _with(good, path, value):
    if not path:
        return copy.deepcopy(value)
    changed = copy.deepcopy(good)
    _above(changed, path)[path[-1]] = copy.deepcopy(value)
    return changed


def _without(good, path):
    changed = copy.deepcopy(good)
    del _above(changed, path)[path[-1]]
    return changed


def _above(value, path):
    for key in path[:-1]:
        value = value[key]
    return value


def _short(value):
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
