"""Numbers as text, with as many digits as it takes to tell them apart from others."""

from __future__ import annotations

import math

_MOST = 17
"""Digits that tell every float from every other."""


def exact_figure(value: float) -> str:
    """The number with the fewest digits that stand for it alone: `0.99999999`, `1`."""
    plain = f"{value:g}"
    return plain if float(plain) == value or math.isnan(value) else repr(float(value))


def figure_beside(value: float, *bounds: float | None, fewest: int = 6) -> str:
    """The number with the `fewest` digits, or as many as show on which side of each bound it lies."""
    others = [one for one in bounds if one is not None]
    texts = (f"{value:.{digits}g}" for digits in range(fewest, _MOST + 1))
    return next((text for text in texts if all(_same_side(text, value, one) for one in others)), repr(value))


def _same_side(text: str, value: float, bound: float) -> bool:
    told = float(text)
    return (told < bound, told > bound) == (value < bound, value > bound)
