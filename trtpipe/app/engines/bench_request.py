"""The options of `trtpipe bench`, checked before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from trtpipe.app.engines.choice import Where
from trtpipe.errors import Problem, SpecError
from trtpipe.json_values import Json, JsonObject, integer_in, integers_in, numbers_in, text_in, texts_in
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.requests import GraphUse, Steady

Graph = Literal["off", "on", "rtx", "both"]
GRAPHS: tuple[Graph, ...] = get_args(Graph)
_USES: Mapping[Graph, tuple[GraphUse, ...]] = {
    "off": ("off",),
    "on": ("capture",),
    "rtx": ("rtx",),
    "both": ("off", "capture"),
}
MOST_STREAMS = 64


@dataclass(frozen=True)
class BenchRequest:
    """What to measure, and how. Times in seconds."""

    what: Sequence[str]
    where: Where = field(default_factory=Where)
    streams: tuple[int, ...] = (1,)
    graph: Graph = "off"
    shapes: Sequence[str] = ()
    profile: int | None = None
    seed: int = 0
    warm_up: int = 10
    steady: Steady = field(default_factory=Steady)
    compare: Path | None = None
    alone: bool = False
    """Whether to compare neither with the fp32 variant nor with earlier results."""
    output: Path | None = None

    @property
    def graphs(self) -> tuple[GraphUse, ...]:
        """The uses of graphs that are measured, one after the other."""
        return _USES[self.graph]

    @property
    def with_one(self) -> tuple[int, ...]:
        """The stream counts, always including one as the first, because latency is measured with one."""
        return tuple(dict.fromkeys((1, *self.streams)))

    def to_json(self) -> dict[str, Json]:
        """How an engine is measured, for a job of a fleet: without what concerns this machine's files."""
        return {
            "streams": list(self.streams),
            "graph": self.graph,
            "shapes": list(self.shapes),
            "profile": self.profile,
            "seed": self.seed,
            "warm_up": self.warm_up,
            "steady": [self.steady.window, self.steady.within, self.steady.limit],
        }

    @classmethod
    def from_json(cls, what: str, where: Where, record: JsonObject) -> BenchRequest:
        """The request of a job for one directory. Raises Malformed, SpecError."""
        return cls(
            [what],
            where,
            tuple(integers_in(record, "streams")),
            graph_called(text_in(record, "graph")),
            texts_in(record, "shapes"),
            None if record.get("profile") is None else integer_in(record, "profile"),
            integer_in(record, "seed"),
            integer_in(record, "warm_up"),
            Steady(*numbers_in(record, "steady")),
            alone=True,
        )

    def how(self) -> dict[str, Any]:
        """The settings, as they are recorded in a result."""
        return {
            "warm_up": self.warm_up,
            "window_s": self.steady.window,
            "within": self.steady.within,
            "limit_s": self.steady.limit,
            "streams": list(self.streams),
            "inputs": f"random, seed {self.seed}",
        }


def graph_called(text: str) -> Graph:
    """The use of graphs of that name. Raises SpecError."""
    found = next((one for one in GRAPHS if one == text), None)
    if found is None:
        raise SpecError(Code.UNKNOWN_VALUE, f"unknown --graph {text!r}", choose_from(text, GRAPHS, "graphs"))
    return found


def parsed_streams(text: str) -> tuple[int, ...]:
    """`1,2,4`. Raises SpecError."""
    words = [word.strip() for word in text.split(",")]
    right = all(word.isascii() and word.isdigit() and 1 <= int(word[:4]) <= MOST_STREAMS for word in words)
    if not right or any(len(word) > 3 for word in words):
        raise SpecError(
            Code.BAD_ARGUMENT, f"--streams {text[:40]!r} is not a list of 1 to {MOST_STREAMS}", "write 1,2,4"
        )
    return tuple(dict.fromkeys(int(word) for word in words))


def steady_for(window: float, within: float, limit: float) -> Steady:
    """The rule of `--window` (s), `--within` (%) and `--time-limit` (s). Raises SpecError with every problem."""
    asked = (("--window", window, 600), ("--within", within, 100), ("--time-limit", limit, 86_400))
    problems = [
        Problem(Code.BAD_ARGUMENT, f"{name} {value:g} must be above 0 and at most {most}")
        for name, value, most in asked
        if not 0 < value <= most
    ]
    if problems:
        raise SpecError(problems)
    return Steady(window, within / 100, limit)
