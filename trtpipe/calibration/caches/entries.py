"""The entries of a calibration cache of any format: tensor → largest magnitude (amax).

TensorRT's cache holds the int8 scale of a tensor, amax / 127; other tools write amax itself. Here all are amax in
float64, where 127 times a float32 scale, and that divided by 127, are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

INT8_LARGEST = 127.0
"""The magnitude that TensorRT's implicit int8 gives amax: it leaves -128 out."""

MOST_ENTRIES = 200_000
"""More tensors than any network has; a file with more is none of ours."""

# the smallest normal float32; smaller scales are rounding errors or have the wrong byte order
_SMALLEST_NORMAL = 2.0**-126
_LARGEST_FLOAT = 2.0**128
_PLAUSIBLE = (1e-6, 1e4)


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a cache."""

    name: str
    amax: float

    @property
    def scale(self) -> float:
        """The int8 scale."""
        return self.amax / INT8_LARGEST

    @property
    def plausible(self) -> bool:
        """Whether its scale is one that networks have, between 1e-6 and 1e4."""
        return _PLAUSIBLE[0] <= self.scale <= _PLAUSIBLE[1]


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache's entries in the file's order, each name once, and where they come from."""

    format: str
    """`tensorrt`, `onnxruntime`, `json` or `trtpipe`."""
    method: str
    """How it was calibrated, in the words of the tool that did it; empty when the file does not say."""
    origin: str
    """What the file says of its tool: `TRT-7103-EntropyCalibration2`, or the format in words."""
    entries: tuple[Entry, ...]
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Name → why its value is none: infinite, zero, two values for one name."""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, including those whose value cannot be used."""
        return (*(entry.name for entry in self.entries), *self.unusable)


def cache_of(
    format_: str, origin: str, rows: Iterable[tuple[str, float]], method: str = "", note: str = ""
) -> Cache:
    """A cache of these names and amax values; `note` is always among its notes.

    Raises ModelError when it holds none, or far too many.
    """
    values: dict[str, float] = {}
    unusable: dict[str, str] = {}
    again = 0
    for number, (name, amax) in enumerate(rows):
        if number >= MOST_ENTRIES:
            raise ModelError(Code.NOT_A_CACHE, f"it contains more than {MOST_ENTRIES} tensors")
        if not is_text(name):
            raise ModelError(Code.NOT_A_CACHE, f"the name of a tensor is not text: {name[:80]!r}")
        if name in values and values[name] != amax:
            unusable[name] = "it occurs twice with different values"
        again += name in values
        values[name] = amax
        why = why_unusable(amax)
        if why:
            unusable.setdefault(name, why)
    if not values:
        raise ModelError(
            Code.NOT_A_CACHE, "it contains no tensors", "calibrate again, or take the cache from a backup"
        )
    entries = tuple(Entry(name, amax) for name, amax in values.items() if name not in unusable)
    notes = (*_notes(entries, again), *([note] if note else []))
    return Cache(format_, method, origin, entries, unusable, notes)


def is_text(name: str) -> bool:
    """Whether a name is valid UTF-8 text; JSON may contain lone surrogates, which are not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def why_unusable(amax: float) -> str:
    """Why this is not a largest magnitude of a tensor; empty if it is one."""
    if math.isnan(amax):
        return "its value is NaN"
    if amax / INT8_LARGEST >= _LARGEST_FLOAT:
        return "its value is infinite"
    if amax == 0:
        return "its value is zero"
    if amax < 0:
        return "its value is negative"
    return "its value is denormal" if amax / INT8_LARGEST < _SMALLEST_NORMAL else ""


def _notes(entries: tuple[Entry, ...], again: int) -> Iterable[str]:
    if again:
        yield f"{again} rows repeat an earlier tensor"
    odd = [entry for entry in entries if not entry.plausible]
    if odd:
        shown = f"'{odd[0].name}' with a scale of {odd[0].scale:.3g}"
        yield f"{len(odd)} values are unlikely for a network: {shown}; check whether this is the right file"
