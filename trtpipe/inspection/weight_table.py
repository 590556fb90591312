"""A table of weights: names, types, shapes and, on request, statistics of the values, which are read in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from trtpipe.json_values import Json
from trtpipe.weights.pieces import Statistics, WeightStream, statistics_of


@dataclass(frozen=True, slots=True)
class WeightLine:
    """One tensor; `dims` is None if its file gives none, `statistics` if they were not requested."""

    name: str
    dtype: str
    dims: tuple[int, ...] | None
    elements: int
    nbytes: int
    statistics: Statistics | None = None


@dataclass(frozen=True, slots=True)
class WeightsDescription:
    """A file of weights; everything in it can be written as JSON."""

    path: str
    format: str
    nbytes: int
    """Of the file."""
    tensors: tuple[WeightLine, ...]

    def to_json(self) -> dict[str, Json]:
        """This description as plain JSON values."""
        return {"kind": "weights", **asdict(self)}


def weight_lines(
    streams: Iterable[WeightStream],
    *,
    statistics: bool,
    told: Callable[[WeightStream], None] = lambda stream: None,
) -> tuple[WeightLine, ...]:
    """A line for each tensor, in order; `told` is called with each before its values are read. Raises ModelError."""
    lines = []
    for one in streams:
        told(one)
        found = statistics_of(one) if statistics else None
        lines.append(WeightLine(one.name, one.dtype, one.dims, one.count, one.nbytes, found))
    return tuple(lines)


def nonfinite_of(lines: Iterable[WeightLine]) -> tuple[str, ...]:
    """The names of tensors that hold NaN or infinity."""
    return tuple(line.name for line in lines if line.statistics is not None and line.statistics.nonfinite)
