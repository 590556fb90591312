"""`trtpipe bench`: prints the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trtpipe.app.engines.bench import Benched, bench
from trtpipe.app.engines.bench_request import BenchRequest
from trtpipe.app.engines.bench_runs import threads_words
from trtpipe.app.engines.choice import ENGINE
from trtpipe.cli.fleets.use import ON_THIS_MACHINE, FleetOptions, machine_for
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, note, say, say_json, show_error
from trtpipe.errors import SpecError
from trtpipe.json_values import Json
from trtpipe.problem_codes import Code
from trtpipe.text.problems import problem_json
from trtpipe.text.tables import render_table

_COLUMNS = ("p50_us", "p90_us", "p95_us", "p99_us", "mean_us", "max_us")
_GRAPHS = {"off": "off", "capture": "on", "rtx": "rtx"}


def bench_command(asked: BenchRequest, fleet: FleetOptions = ON_THIS_MACHINE, *, as_json: bool) -> int:
    """Measure and print; returns the exit code of the first failure, or 0."""
    if not asked.what:
        raise SpecError(
            Code.NOTHING_TO_MEASURE, "nothing to measure", "name cells, globs or directories: 'digits/*@ada'"
        )
    done: list[Benched] = []
    try:
        with machine_for(asked.where, fleet) as machine:
            for one in bench(asked, note, machine):
                done.append(one)
                if not as_json:
                    _show(one)
    finally:
        if as_json:
            say_json(_json(done))
    if not as_json and len(done) > 1:
        failed = sum(one.error is not None for one in done)
        say(f"measured {len(done) - failed} of {len(done)}" + (f", {failed} failed" if failed else ""))
    codes = {one.error.exit_code for one in done if one.error is not None}
    return codes.pop() if len(codes) == 1 else EXIT_FAILED if codes else EXIT_DONE


def _json(done: Sequence[Benched]) -> dict[str, Json]:
    return {
        "schema": 1,
        "results": [
            {
                **one.record,
                "saved": str(one.saved) if one.saved else None,
                "for_comparison": one.for_comparison,
            }
            for one in done
            if one.record is not None
        ],
        "failed": [
            {"cell": one.name, "problems": [problem_json(problem) for problem in one.error.problems]}
            for one in done
            if one.error is not None
        ],
    }


def _show(one: Benched) -> None:
    if one.record is not None:
        say("\n".join(_lines(one)))
    if one.error is not None:
        note(f"{one.name} failed:")
        show_error(one.error)
    say()


def _lines(one: Benched) -> Iterator[str]:
    assert one.record is not None
    record = one.record
    extra = ", to compare with" if one.for_comparison else ""
    yield f"{one.name}: {_subject(record)}, inputs {record['how']['inputs']}{extra}"
    for text in record["not_run"]:
        yield f"not run: {text}"
    for kind, words in record["how"].get("twins", {}).items():
        yield f"{kind}: {words}"
    yield render_table(
        ("measured", "shapes", "graph", "part", *(name.replace("_", " ") for name in _COLUMNS), "runs"),
        [*_latency_rows(record)],
    )
    yield render_table(("measured", "shapes", "graph", "streams", "runs/s"), [*_rate_rows(record)])
    yield from _steadiness(record)
    yield from _clocks(record["clocks"])
    for compared in record["compared"]:
        yield from _comparison(compared)
    if one.saved:
        yield f"saved {one.saved}"
    if one.note:
        yield f"note: {one.note}"


def _subject(record: Mapping[str, Any]) -> str:
    machine, how = record["machine"], record["how"]
    if record["subject"] == ENGINE:
        gpu, agent = machine["gpu"], machine.get("agent")
        where = f" (agent {agent})" if agent else ""
        return f"engine on {gpu['name']} ({gpu['compute_capability']}){where}, TensorRT {record['tensorrt']}"
    return f"{record['subject']} ({machine['cpu']}, {threads_words(how['threads'])}, {how['runtime']})"


def _latency_rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    for one in record["measurements"]:
        for part, summary in one["latency"].items():
            numbers = [f"{summary[name]:.1f}" for name in _COLUMNS]
            yield [*_head(record, one), part.replace("_", " "), *numbers, str(summary["count"])]


def _rate_rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    for one in record["measurements"]:
        for rate in one["throughput"]:
            yield [*_head(record, one), str(rate["streams"]), f"{rate['per_second']:.1f}"]


def _head(record: Mapping[str, Any], one: Mapping[str, Any]) -> list[str]:
    return [record["subject"], _shapes(one["shapes"]), _GRAPHS[one["graph"]]]


def _shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return (
        " ".join(f"{name}={'x'.join(map(str, shape)) or 'scalar'}" for name, shape in shapes.items()) or "-"
    )


def _steadiness(record: Mapping[str, Any]) -> Iterator[str]:
    within = 100 * record["how"]["within"]
    for one in record["measurements"]:
        if not one["stable"]:
            limit = record["how"]["limit_s"]
            yield (
                f"not stable: {_shapes(one['shapes'])}: medians did not settle within {within:g} % in {limit:g} s; "
                "all times are counted"
            )
        why_not = one.get("graphs", {}).get("why_not")
        if why_not:
            yield f"no CUDA graph: {why_not}"


def _clocks(clocks: Mapping[str, Any] | None) -> Iterator[str]:
    for when, state in (clocks or {}).items():
        limited = f", held down by {', '.join(state['limited_by'])}" if state["limited_by"] else ""
        yield (
            f"GPU {when}: SM {_of(state['sm_mhz'], 'MHz')} of {_of(state['sm_max_mhz'], 'MHz')}, memory "
            f"{_of(state['memory_mhz'], 'MHz')}, {_of(state['power_w'], 'W')} of {_of(state['power_limit_w'], 'W')}, "
            f"{_of(state['temperature_c'], 'C')}{limited}"
        )


def _of(value: float | None, unit: str) -> str:
    return "?" if value is None else f"{value:g} {unit}"


def _comparison(compared: Mapping[str, Any]) -> Iterator[str]:
    what = {"fp32": f"{compared['cell']} (fp32)", "before": "what was measured before"}
    name = what.get(compared["with"], compared["with"])
    if compared["why_not"]:
        yield f"not compared with {name}: {compared['why_not']}"
        return
    for one in compared["measurements"]:
        for part, found in one["parts"].items():
            at = f"{_shapes(one['shapes'])}, graph {_GRAPHS[one['graph']]}, {part}"
            yield f"against {name}: {found['words']} [{at}: {found['this_us']:.1f} us, {found['that_us']:.1f} us]"
