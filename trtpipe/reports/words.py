"""Formats numbers, names and states for reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from trtpipe.figures import exact_figure
from trtpipe.reports.models import Fact
from trtpipe.reports.part_models import Reading, Verdict
from trtpipe.shapes import format_size
from trtpipe.text.tables import one_line

NONE = "-"
LONGEST_NAME = 96
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
GPU_CHECK = "the engine on a GPU"
"""How a manifest's `not_run` names what only the target GPU can tell."""


def shortened(text: str, most: int = LONGEST_NAME) -> str:
    """The text on one line, with the middle of a long text left out, because names in a model can be of any length."""
    if len(text) > most:
        half = most // 2 - 8
        return f"{one_line(text[:half])}… [{len(text)} characters] …{one_line(text[-half:])}"
    return text if text.isprintable() else one_line(text)


def clipped(text: str, most: int) -> str:
    """The text on one line, truncated to this many characters."""
    shown = one_line(text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def number_words(value: Reading, digits: int = 6) -> str:
    """`0.999947`, `inf`, or a dash when there is none."""
    if isinstance(value, str):
        return value
    return NONE if value is None else f"{value:.{digits}g}"


def metric_words(value: Reading) -> str:
    """A metric; near one (a cosine or an accuracy) with enough digits to distinguish it from one."""
    return number_words(value, 8 if isinstance(value, (int, float)) and 0.99 < value < 1 else 5)


def plain_words(value: object) -> str:
    """JSON on one line, as `name value` pairs."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain_words(one)}" for name, one in value.items())
    if isinstance(value, list):
        return " ".join(map(plain_words, value))
    return number_words(value) if isinstance(value, float) else str(value)


def size_words(value: int | None) -> str:
    """`4.2 MiB`."""
    return NONE if value is None else format_size(value)


def seconds_words(value: float | None) -> str:
    """`0.52 s`, `41.3 s`, `3 min 20 s`."""
    if value is None:
        return NONE
    if value >= 120:
        return f"{value // 60:.0f} min {value % 60:.0f} s"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def micros_words(value: float | None) -> str:
    """`412 µs`, `3.21 ms`."""
    if value is None:
        return NONE
    return f"{value:.3g} µs" if value < 1000 else f"{value / 1000:.3g} ms"


def share_words(value: float | None) -> str:
    """`12.5 %`."""
    if value is None:
        return NONE
    return f"{100 * value:.3g} %"


def shape_words(shape: Sequence[int]) -> str:
    """`?x3x224x224`."""
    return "x".join("?" if dim < 0 else str(dim) for dim in shape) or "scalar"


def bound_words(verdict: Verdict) -> str:
    """`>= 0.999 and <= 2`."""
    parts = [f">= {exact_figure(verdict.min)}"] if verdict.min is not None else []
    parts += [f"<= {exact_figure(verdict.max)}"] if verdict.max is not None else []
    return " and ".join(parts)


def mix_words(mix: Mapping[str, int]) -> str:
    """`float16 12, float32 3`: how many layers compute in which type."""
    return ", ".join(f"{shortened(dtype, 40)} {count}" for dtype, count in mix.items() if count)


def plural(count: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def fact_words(value: Fact) -> str:
    """A fact of the lockfile for a reader: digests shortened, lists on one line."""
    if value is None:
        return "(none)"
    told = value if isinstance(value, str) else ", ".join(value)
    return shortened(_DIGEST.sub(lambda found: found[0][:12], told), 200)
