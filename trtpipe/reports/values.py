"""Reads expected values from untrusted JSON; anything of another type counts as absent.

The files beside an engine may be damaged, of another version or forged: a report shows what it can read of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from trtpipe.json_values import Json
from trtpipe.reports.part_models import Histogram, Reading

LONGEST = 20_000
"""Characters that are kept of any text: names of 10 kB exist."""


def text_of(value: object) -> str:
    """A text, truncated to what a report can hold; empty for anything else."""
    return value[:LONGEST] if isinstance(value, str) else ""


def number_of(value: object) -> float | None:
    """A finite number; None for anything else, truth values included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer that is too large for a float
        return None


def count_of(value: object) -> int | None:
    """A count: an integer that is not negative."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def reading_of(value: object) -> Reading:
    """A measured value as reports keep it: a finite number, or `inf`, `-inf` or `nan` as text."""
    if isinstance(value, str):
        return value if value in ("inf", "-inf", "nan") else None
    return number_of(value)


def mapping_of(value: object) -> Mapping[str, object]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def items_of(value: object, most: int = 100_000) -> Sequence[object]:
    """A list, of at most so many entries; an empty one for anything else."""
    return value[:most] if isinstance(value, list) else ()


def objects_of(value: object, most: int = 100_000) -> list[Mapping[str, object]]:
    """The objects in a list."""
    return [one for one in items_of(value, most) if isinstance(one, Mapping)]


def texts_of(value: object, most: int = 100_000) -> tuple[str, ...]:
    """The texts in a list."""
    return tuple(text_of(one) for one in items_of(value, most) if isinstance(one, str))


def sizes_of(value: object) -> tuple[int, ...]:
    """The integers in a list, such as a shape, in which -1 is a dynamic dimension."""
    return tuple(
        one
        for one in items_of(value, 64)
        if isinstance(one, int) and not isinstance(one, bool) and abs(one) < 1 << 63
    )


def shapes_of(value: object) -> dict[str, tuple[int, ...]]:
    """Tensor -> shape."""
    return {text_of(name): sizes_of(shape) for name, shape in mapping_of(value).items()}


def histogram_of(value: object, edges: str = "edges") -> Histogram | None:
    """`edges` (n + 1 finite numbers, ascending) and `counts` (n); None when their lengths do not match."""
    found = mapping_of(value)
    places = [number_of(one) for one in items_of(found.get(edges), 1001)]
    counts = [count_of(one) for one in items_of(found.get("counts"), 1000)]
    if not counts or len(places) != len(counts) + 1 or None in counts:
        return None
    known = [one for one in places if one is not None]
    if len(known) != len(places) or known != sorted(known):
        return None
    return Histogram(edges=tuple(known), counts=tuple(float(one) for one in counts if one is not None))


def plain_of(value: object, depth: int = 6) -> Json:
    """JSON truncated in depth and length; values that JSON cannot represent become text."""
    if isinstance(value, Mapping):
        return plain_object_of(value, depth)
    if isinstance(value, list):
        return [plain_of(one, depth - 1) for one in value[:200]] if depth else []
    if isinstance(value, str):
        return value[:LONGEST]
    if value is None or isinstance(value, bool):
        return value
    number = number_of(value)
    return number if number is not None else str(value)[:64]


def plain_object_of(value: object, depth: int = 6) -> dict[str, Json]:
    """An object, truncated in the same way; an empty one for anything else."""
    inner = list(mapping_of(value).items())[:200] if depth else []
    return {str(name)[:200]: plain_of(one, depth - 1) for name, one in inner}
