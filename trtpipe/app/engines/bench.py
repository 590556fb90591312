"""Benchmarks of delivered cells, one after the other; each is compared and written before the next begins.

An engine is measured if it can run here. Otherwise its typed model is measured on the CPU, and every result says so,
because that tells nothing about the engine's speed. If a cell fails, the results of the others are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trtpipe.app.engines.bench_files import Before, before, keep, reference_of
from trtpipe.app.engines.bench_request import BenchRequest
from trtpipe.app.engines.bench_runs import Measured, measure_engine, measure_model
from trtpipe.app.engines.choice import Chosen, choose
from trtpipe.app.engines.fleet_machine import FleetMachine
from trtpipe.app.engines.inputs import chance
from trtpipe.app.engines.machine import Machine, this_machine
from trtpipe.app.engines.places import Place, find_places
from trtpipe.errors import Interrupted, Problem, SpecError, ToolchainError, TrtpipeError
from trtpipe.files import is_special
from trtpipe.metrics.records import compared, read_record
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.feeds import Feed, checked_feed, checked_profile
from trtpipe.runners.feeds.signature import Signature
from trtpipe.workspace.scratch import scratch_folder

Say = Callable[[str], None]


@dataclass(frozen=True)
class Benched:
    """One cell: its result, or its error; both when the result could not be written."""

    name: str
    record: Mapping[str, Any] | None = None
    error: TrtpipeError | None = None
    saved: Path | None = None
    note: str = ""
    """Why the result was not saved."""
    for_comparison: bool = False
    """It was not asked for."""


def bench(
    asked: BenchRequest, say: Say, machine: Machine | None = None, cwd: Path | None = None
) -> Iterator[Benched]:
    """The results, each as soon as it is there and written. Raises SpecError for wrong arguments, before the first."""
    machine, cwd = machine or this_machine(), cwd or Path.cwd()
    places = _places(asked, cwd)
    other = None if asked.compare is None else read_record(asked.compare)
    if asked.output is not None and len(places) > 1:
        raise SpecError(
            Code.NOT_FOR_SEVERAL,
            "--output is for one result",
            "each cell's is written as bench.json beside its engine",
        )
    if asked.output is not None and is_special(asked.output):
        raise SpecError(
            Code.NOT_A_FILE, f"--output {str(asked.output)!r} is not a regular file", "name another place"
        )
    return _results(asked, say, machine, cwd, Queue(places, other))


@dataclass(frozen=True)
class Queue:
    """The cells to measure, and the result that all are compared with."""

    places: list[Place]
    other: Mapping[str, Any] | None

    def references(self) -> dict[Path, Place]:
        """The fp32 variant of each place that has one, by its folder."""
        found = {place.folder: reference_of(place) for place in self.places}
        return {folder: place for folder, place in found.items() if place is not None}


def _places(asked: BenchRequest, cwd: Path) -> list[Place]:
    places: dict[str, Place] = {}
    problems: list[Problem] = []
    for text in asked.what:
        problems += _found(text, cwd, places)
    if problems:
        raise SpecError(problems)
    return list(places.values())


def _found(text: str, cwd: Path, places: dict[str, Place]) -> tuple[Problem, ...]:
    try:
        places |= {str(one.engine or one.model): one for one in find_places(text, cwd)}
    except TrtpipeError as error:
        return error.problems
    return ()


def _results(asked: BenchRequest, say: Say, machine: Machine, cwd: Path, queue: Queue) -> Iterator[Benched]:
    references = {} if asked.alone else queue.references()
    own = {place.folder for place in queue.places}
    extra = {place.folder: place for place in references.values() if place.folder not in own}
    first = {place.folder for place in references.values()}
    order = [*extra.values(), *sorted(queue.places, key=lambda place: place.folder not in first)]
    done: dict[Path, Benched] = {}
    for place in order:
        reference = references.get(place.folder)
        against = done.get(reference.folder) if reference is not None else None
        choosing = partial(choose, place, machine, asked.where, cwd)
        one = _one(asked, say, place, choosing, (against, queue.other))
        done[place.folder] = one
        yield Benched(one.name, one.record, one.error, one.saved, one.note, place.folder in extra)


def _one(
    asked: BenchRequest,
    say: Say,
    place: Place,
    choosing: Callable[[], Chosen],
    against: tuple[Benched | None, Mapping[str, Any] | None],
) -> Benched:
    """Measure, compare with the fp32 variant and another result, and write; errors concern this cell only."""
    record: dict[str, Any] | None = None
    try:
        former = Before() if asked.alone else before(place)
        record = measured(asked, say, choosing())
        record["compared"] = [*_compared(asked, record, former, *against)]
        saved, note = keep(place, record, asked.output)
        return Benched(place.name, record, None, saved, note)
    except Interrupted:
        raise
    except TrtpipeError as error:
        return Benched(place.name, record, error)


def measured(asked: BenchRequest, say: Say, chosen: Chosen) -> dict[str, Any]:
    """The result of one cell, of its engine or of its typed model. Raises TrtpipeError."""
    with scratch_folder("bench") as folder:
        signature = chosen.signature(folder)
        feeds = [*_feeds(asked, signature)]
        if chosen.why_not:
            return measure_model(asked, chosen, feeds, folder, say)
        try:
            if isinstance(chosen.machine, FleetMachine):
                return chosen.machine.measure_engine(asked, chosen)
            return measure_engine(asked, chosen, feeds, folder, say)
        except ToolchainError as error:
            return measure_model(asked, chosen.instead(error), feeds, folder, say)


def _feeds(asked: BenchRequest, signature: Signature) -> Iterator[Measured]:
    """The inputs to measure: at the requested shapes, or at each profile's opt."""
    whole = (
        range(max(len(signature.profiles), 1))
        if asked.profile is None and not asked.shapes
        else [asked.profile]
    )
    for index in whole:
        feed: Feed = chance(asked.shapes, index, asked.seed, signature)
        feed = checked_feed(feed, signature, cast=False)
        yield Measured(feed, checked_profile(feed, signature, index))


def _compared(
    asked: BenchRequest,
    record: Mapping[str, Any],
    former: Before,
    reference: Benched | None,
    other: Mapping[str, Any] | None,
) -> Iterator[dict[str, Any]]:
    within = asked.steady.within
    if reference is not None and reference.record is not None:
        yield compared(record, reference.record, "fp32", within)
    elif reference is not None and reference.error is not None:
        yield _not_compared("fp32", reference.name, reference.error.problems[0].fact)
    if former.record is not None:
        yield compared(record, former.record, "before", within)
    elif former.why_not:
        yield _not_compared("before", record["cell"], former.why_not)
    if other is not None:
        yield compared(record, other, str(asked.compare), within)


def _not_compared(what: str, cell: str, why_not: str) -> dict[str, Any]:
    return {"with": what, "cell": cell, "engine": None, "why_not": why_not, "measurements": []}
