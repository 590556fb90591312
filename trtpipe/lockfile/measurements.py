"""How the lockfile shows measured values: rounded, so that they do not change from one processor to another.

Kernels on different processors sum in different orders, so the last digits of a measured value are noise. A value is
written with four digits, and replaced only if it changed by more than one unit of the last digit; otherwise every
machine that builds would change the lockfile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from trtpipe.json_values import JsonObject
from trtpipe.lockfile.entries import Entry, Fact

_DIGITS = 4


def measured_facts(verdicts: Sequence[JsonObject]) -> dict[str, str]:
    """`OUTPUT METRIC` → the worst value over all places, and the bound that it was compared with."""
    found: dict[str, JsonObject] = {}
    for verdict in verdicts:
        name = f"{verdict['output']} {verdict['metric']}"
        if _number(verdict["value"]) is not None and _worse(verdict, found.get(name)):
            found[name] = verdict
    return {name: f"{_shown(one['value'])}{_bound(one)}" for name, one in sorted(found.items())}


def steady(old: Entry, new: Entry, *, elsewhere: bool = False) -> Entry:
    """The new facts, but with the old text for facts that only reflect which machine built and measured first.

    These are the interpreter, if the engine is the same, and each measured value that is about the same; all measured
    values if the old ones were measured `elsewhere`: with other packages, or on another kind of processor.
    """
    if old.get("key") == new.get("key") and old.get("python"):
        new = {**new, "python": old["python"]}
    before, now = old.get("measured"), new.get("measured")
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return new
    elsewhere = elsewhere and _same_subject(old, new)
    kept: dict[str, str] = {
        name: before[name] if _stays(before.get(name), text, elsewhere) else text
        for name, text in now.items()
    }
    return {**new, "measured": kept}


def _same_subject(old: Entry, new: Entry) -> bool:
    """Whether the same model was measured on the same data, with the same outcome."""
    return all(old.get(name) == new.get(name) for name in ("key", "model", "data", "golden", "validated"))


def _stays(old: object, new: str, elsewhere: bool) -> bool:
    """Whether a measured value keeps its old text. If the bound changed, the value is replaced too."""
    return _about_equal(old, new) or (elsewhere and isinstance(old, str) and same_bound(old, new))


def same_bound(old: str, new: str) -> bool:
    """Whether two measured values, in their written form, were compared with the same bound."""
    return old.partition(" ")[2] == new.partition(" ")[2]


def same_fact(field: str, old: Fact | None, new: Fact | None) -> bool:
    """Whether two facts of a cell are the same, measured values within their last digit."""
    if field == "measured" and isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(_about_equal(old[name], new[name]) for name in new)
    return (old or None) == (new or None)


def _worse(one: JsonObject, other: JsonObject | None) -> bool:
    if other is None:
        return True
    value, known = _number(one["value"]), _number(other["value"])
    assert value is not None and known is not None
    return value < known if one.get("min") is not None else value > known


def _bound(verdict: JsonObject) -> str:
    bounds = [
        f"{word} {verdict[name]:.12g}"
        for name, word in (("min", "at least"), ("max", "at most"))
        if verdict.get(name) is not None
    ]
    return f" ({', '.join(bounds)})" if bounds else ""


def _shown(value: object) -> str:
    return f"{_number(value):.{_DIGITS}g}"


def _number(value: object) -> float | None:
    """The value of a metric; reports write `inf` as text."""
    if not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _about_equal(old: object, new: str) -> bool:
    if not isinstance(old, str):
        return False
    (before, *bound), (now, *other) = old.split(" ", 1), new.split(" ", 1)
    one, two = _number(before), _number(now)
    if one is None or two is None or not (math.isfinite(one) and math.isfinite(two)):
        return old == new
    largest = max(abs(one), abs(two))
    unit = 10.0 ** (math.floor(math.log10(largest)) - _DIGITS + 1) if largest else 0.0
    return bound == other and abs(one - two) <= unit * 1.001
