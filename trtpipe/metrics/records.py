"""Benchmark results as stored in `bench.json`: reading, checking and comparing two of them.

Results from another machine, of another subject or at another shape are not compared, and the reader is told so.
Independent of how they were measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtpipe.errors import ModelError
from trtpipe.files import is_special
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    number_in,
    numbers_in,
    object_in,
    objects_in,
    read_object,
    text_in,
)
from trtpipe.metrics.differences import difference, words
from trtpipe.metrics.latency import Blocks
from trtpipe.problem_codes import Code

SCHEMA = 1
NAME = "bench.json"
PARTS = ("compute", "copies_in", "copies_out", "total", "host")
COMPARED = ("compute", "total", "host")
"""The parts by which two results are compared: host only where nothing else was measured."""
_LARGEST = 64 << 20
_MOST_BLOCKS = 1 << 16
_LONGEST_US = 1e15
"""Thirty years; nothing that was measured took longer."""
_SHORTEST_US = 1e-6
"""Shorter than any clock's tick: such a time is taken as zero."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The times of one set of shapes."""

    shapes: JsonObject
    graph: str
    latency: Mapping[str, Blocks]
    """By part; those of PARTS that were measured."""

    def timed(self, part: str) -> bool:
        """Whether a part took time that can be compared."""
        summary = self.latency.get(part)
        return (
            summary is not None and min(summary["p50_us"], *summary["block_medians_us"], 1.0) >= _SHORTEST_US
        )


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The parts of a benchmark result that are compared."""

    cell: str
    subject: str
    engine: Json
    gpu: str | None
    """Its name; None of a result from a CPU."""
    cpu: str
    threads: Json
    measurements: tuple[Measurement, ...]

    @classmethod
    def from_json(cls, record: JsonObject) -> Benchmark:
        """The result in a record. Raises Malformed."""
        if record.get("schema") != SCHEMA:
            raise Malformed(f"schema is not {SCHEMA}")
        machine, how = object_in(record, "machine"), object_in(record, "how")
        if "gpu" not in machine:
            raise Malformed("gpu is missing")
        return cls(
            text_in(record, "cell"),
            text_in(record, "subject"),
            record.get("engine"),
            None if machine["gpu"] is None else text_in(object_in(machine, "gpu"), "name"),
            text_in(machine, "cpu"),
            how.get("threads"),
            tuple(_measurement(one) for one in objects_in(record, "measurements")),
        )


def read_record(path: Path) -> JsonObject:
    """A result of `trtpipe bench`, with the fields used here checked. Raises ModelError."""
    try:
        if is_special(path) or path.stat().st_size > _LARGEST:
            raise Malformed("it is not a file, or too large")
        record = read_object(path.read_bytes())
        Benchmark.from_json(record)
    except OSError as error:
        raise ModelError(
            Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        ) from error
    except Malformed as error:
        raise ModelError(
            Code.WRONG_FILE, f"'{path}' is not a result of trtpipe bench", "it is written as bench.json"
        ) from error
    return record


def _measurement(record: JsonObject) -> Measurement:
    latency = object_in(record, "latency")
    timed = {part: _blocks(object_in(latency, part)) for part in PARTS if part in latency}
    return Measurement(object_in(record, "shapes"), text_in(record, "graph"), timed)


def _blocks(summary: JsonObject) -> Blocks:
    found: Blocks = {
        "p50_us": number_in(summary, "p50_us"),
        "block_medians_us": numbers_in(summary, "block_medians_us"),
    }
    if not 0 < len(found["block_medians_us"]) <= _MOST_BLOCKS:
        raise Malformed("block_medians_us is empty or too long")
    if not all(0 <= one <= _LONGEST_US for one in (found["p50_us"], *found["block_medians_us"])):
        raise Malformed("a time is negative or too long")
    return found


def compared(this: JsonObject, that: JsonObject, what: str, within: float) -> dict[str, Json]:
    """How two results differ, by measurement and part: `this` against `that`, which is called `what`."""
    ours, theirs = Benchmark.from_json(this), Benchmark.from_json(that)
    about: dict[str, Json] = {"with": what, "cell": theirs.cell, "engine": theirs.engine}
    why_not = _differ(ours, theirs)
    if why_not:
        return {**about, "why_not": why_not, "measurements": []}
    found = [*_pairs(ours.measurements, theirs.measurements)]
    if not found:
        return {**about, "why_not": "it has no measurement with these shapes and graphs", "measurements": []}
    return {
        **about,
        "why_not": "",
        "measurements": [
            {"shapes": one.shapes, "graph": one.graph, "parts": _by_part(one, other, within)}
            for one, other in found
        ],
    }


def _differ(this: Benchmark, that: Benchmark) -> str:
    """Why two results cannot be compared; empty if they can."""
    if this.subject != that.subject:
        return f"it is of the {that.subject}"
    if this.gpu != that.gpu:
        return f"it was measured on {that.gpu}"
    on_cpu = this.gpu is None
    if on_cpu and this.cpu != that.cpu:
        return f"it was measured on {that.cpu}"
    other_threads = on_cpu and this.threads != that.threads
    return f"it was measured with {that.threads} threads" if other_threads else ""


def _pairs(
    ours: Sequence[Measurement], theirs: Sequence[Measurement]
) -> Iterator[tuple[Measurement, Measurement]]:
    for one in ours:
        for other in theirs:
            if (one.shapes, one.graph) == (other.shapes, other.graph):
                yield one, other
                break


def _by_part(ours: Measurement, theirs: Measurement, within: float) -> dict[str, Json]:
    parts = [part for part in COMPARED if ours.timed(part) and theirs.timed(part)]
    parts = [part for part in parts if part != "host"] or parts
    found = {part: difference(ours.latency[part], theirs.latency[part], within) for part in parts}
    return {part: {**one.to_json(), "words": words(one)} for part, one in found.items()}
