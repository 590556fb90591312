"""`trtpipe validate`, with and without `--propose`, and `trtpipe golden`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.app.prove.engine_places import engine_places
from trtpipe.app.prove.golden import Recording, record_golden
from trtpipe.app.prove.golden_bundles import record_bundle
from trtpipe.app.prove.validate import (
    HowToValidate,
    Prover,
    Validated,
    take_in,
    this_machine,
    validate_places,
)
from trtpipe.cli.fleets.use import ON_THIS_MACHINE, FleetOptions, opened_jobs, steps_on_fleet
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, note, say, say_json
from trtpipe.cli.validate_bundles import (
    closing_of,
    exit_code_of,
    json_of_whole,
    told_whole,
    validated_wholes,
)
from trtpipe.errors import SpecError, TrtpipeError
from trtpipe.json_values import Json
from trtpipe.loader.project import find_project
from trtpipe.problem_codes import Code
from trtpipe.text.problems import problem_json
from trtpipe.text.tables import one_line, render_table

if TYPE_CHECKING:
    from trtpipe.app.prove.proposed_thresholds import Noise
    from trtpipe.building.engines.jobs import EngineJobs

_GRAVEST = (EXIT_DONE, EXIT_USAGE, EXIT_FAILED)
"""Exit codes, the one that counts most last."""


def validate_command(
    arguments: Sequence[str], how: HowToValidate, fleet: FleetOptions = ON_THIS_MACHINE, *, as_json: bool
) -> int:
    """Validate engines on this machine's GPU, or on those of a fleet.

    1 when something missed a threshold; 2 when an engine was not run, unless only the CPU was requested.
    """
    options = fleet.for_engines({"--cpu": how.cpu, "--device": how.device > 0})
    places = engine_places(arguments, Path.cwd())
    with opened_jobs(options, find_project(Path.cwd()), offline=how.offline) as jobs:
        prover = _prover(jobs)
        found = validate_places(places, how, prover=prover)
        notes = take_in(found)
        wholes = [] if how.cpu else validated_wholes(places, how, prover)
    if as_json:
        bundles = [json_of_whole(one) for one in wholes]
        say_json({"schema": 1, "cells": [_json_of(one) for one in found], "bundles": bundles, "notes": notes})
    else:
        for one in found:
            say("\n".join(_told(one)))
        for whole in wholes:
            say("\n".join(told_whole(whole)))
        for text in notes:
            note(f"warning: {text}")
        say("; ".join(filter(None, (_closing(found), closing_of(wholes)))))
    return max(_exit_code(found, how), exit_code_of(wholes), key=_GRAVEST.index)


def _prover(jobs: EngineJobs | None) -> Prover:
    """What runs engines: the fleet, if the command uses one."""
    if jobs is None:
        return this_machine()
    from trtpipe.app.prove.fleet_validation import OnFleet

    return OnFleet(jobs)


def _exit_code(found: Sequence[Validated], how: HowToValidate) -> int:
    codes = {one.error.exit_code for one in found if one.error is not None}
    if EXIT_FAILED in codes or any(one.failed for one in found):
        return EXIT_FAILED
    if codes:
        return max(codes)
    proven = [one.typed == "passed" if how.cpu else one.engine == "passed" for one in found]
    return EXIT_DONE if all(proven) else EXIT_USAGE


def _told(one: Validated) -> Iterator[str]:
    if one.engine != "not_run" and one.verdict is not None:
        yield f"{one.cell}: {_words(one.engine)} on {_gpu(one.verdict.record)}"
    else:
        yield f"{one.cell}: the engine was not run: {one_line(one.why)}"
    if one.typed is not None:
        twins = "".join(f", as {twin}" for twin in one.twins.values())
        yield f"  validated instead: its typed model on the CPU{twins}: {_words(one.typed)}"
    if one.error is not None:
        for problem in one.error.problems:
            lines = str(problem).splitlines()
            yield from (f"  {line}" for line in lines if one_line(line) != one_line(one.why))
    if one.verdict is not None:
        yield from (f"  {line}" for line in _verdicts(one.verdict.record["verdicts"]))
        yield from (f"  {one_line(problem.fact)}" for problem in one.verdict.problems)
        yield from (f"  not run: {one_line(text)}" for text in one.verdict.not_run)
    if one.kept:
        yield f"  the worst inputs, with expected and actual outputs: {', '.join(map(str, one.kept))}"
    yield from (f"  {text}" for text in one.notes)


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")


def _gpu(record: Mapping[str, Any]) -> str:
    gpu, agent = record["gpu"], record["machine"].get("agent")
    where = f" (agent {agent})" if agent else ""
    return f"{gpu['name']} ({gpu['compute_capability']}){where}, TensorRT {record['tensorrt']}"


def _verdicts(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not verdicts:
        return []
    header = ("on", "output", "metric", "value", "must be", "outcome")
    return render_table(header, [_row(one) for one in verdicts]).splitlines()


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    value = one["value"]
    shown = f"{value:.8g}" if isinstance(value, (int, float)) else str(value or "-")
    bounds = [f">= {one['min']:g}"] if one["min"] is not None else []
    bounds += [f"<= {one['max']:g}"] if one["max"] is not None else []
    return (
        one["place"],
        one["output"],
        one["metric"],
        shown,
        " and ".join(bounds) or "-",
        _words(one["outcome"]),
    )


def _closing(found: Sequence[Validated]) -> str:
    count = {name: sum(one.engine == name for one in found) for name in ("passed", "failed", "not_run")}
    engines = "engine" if count["passed"] == 1 else "engines"
    parts = [f"{count['passed']} {engines} passed"]
    parts += [f"{count['failed']} failed"] if count["failed"] else []
    parts += [f"{count['not_run']} not run"] if count["not_run"] else []
    return ", ".join(parts)


def _json_of(one: Validated) -> dict[str, Json]:
    record = dict(one.verdict.record) if one.verdict is not None else {}
    return {
        "cell": one.cell,
        "directory": str(one.place.folder),
        "subject": "engine" if one.typed is None else "typed model on the CPU",
        "engine": one.engine,
        "why": one.why,
        "typed_model": one.typed,
        "twins": dict(one.twins),
        **{
            name: record.get(name)
            for name in ("gpu", "machine", "tensorrt", "accuracy", "reference_accuracy")
        },
        "verdicts": record.get("verdicts", []),
        "problems": _problems(one.error) or [{"fact": fact} for fact in record.get("problems", ())],
        "not_run": list(one.verdict.not_run) if one.verdict is not None else [],
        "failing_inputs": [str(path) for path in one.kept],
        "proof": str(one.proof) if one.proof else None,
        "notes": one.notes,
    }


def _problems(error: TrtpipeError | None) -> list[dict[str, Json]]:
    return [problem_json(problem) for problem in error.problems] if error is not None else []


def propose_command(
    cells: Sequence[str], noise: Noise, fleet: FleetOptions = ON_THIS_MACHINE, *, offline: bool, as_json: bool
) -> int:
    """Print thresholds to paste, and the cell's results relative to them."""
    from trtpipe.app.prove.proposed_thresholds import propose_thresholds
    from trtpipe.cli.progress import LazyProgress
    from trtpipe.loader.scalars import flow_yaml

    if len(cells) != 1:
        raise SpecError(
            Code.NOT_FOR_SEVERAL,
            "--propose needs exactly one cell",
            "for example trtpipe validate --propose digits/fp16@ada",
        )
    with LazyProgress() as progress:
        found = propose_thresholds(cells[0], progress, noise, steps_on_fleet(fleet), offline=offline)
    lines = [one.model_dump(exclude_none=True) for one in found.thresholds]
    problems = [problem.fact for problem in found.judgement.problems]
    if as_json:
        told = {
            "cell": found.cell,
            "precision": found.precision,
            "seeds": noise.seeds,
            "margin": noise.margin,
        }
        say_json({"schema": 1, **told, "thresholds": lines, "missed_now": problems})
        return EXIT_DONE
    drawn = f"{noise.seeds} seeds, margin {noise.margin:g}"
    say(f"# derived from the effect of rounding to {found.precision} on {found.cell}: {drawn}")
    say("validate:")
    say("  thresholds:")
    for line in lines:
        say(f"    - {flow_yaml(line)}")
    say(f"# {found.cell} meets them" if not problems else f"# {found.cell} misses them:")
    for fact in problems:
        say(f"#   {one_line(fact)}")
    return EXIT_DONE


def golden_command(
    asked: Recording, how: HowToValidate, fleet: FleetOptions = ON_THIS_MACHINE, *, as_json: bool
) -> int:
    """Record outputs and print the lines that make a spec use them."""
    from trtpipe.cli.progress import LazyProgress
    from trtpipe.loader.scalars import flow_yaml

    options = fleet.for_engines({"--device": asked.engine and how.device > 0})
    record = record_golden if "/" in asked.cell else record_bundle
    with LazyProgress() as progress:
        done = record(asked, how, progress, steps_on_fleet(options, always=asked.engine))
    if as_json:
        shapes = {name: list(shape) for name, shape in done.shapes.items()}
        told = {"file": str(done.path), "golden": done.named, "samples": done.samples, "of": done.of}
        say_json({"schema": 1, **told, "arrays": shapes})
        return EXIT_DONE
    count = "1 sample" if done.samples == 1 else f"{done.samples} samples"
    say(f"recorded {count} of {done.of} in {done.named}; to compare with them:")
    say("validate:")
    golden = {"golden": done.named}
    say(
        f"  golden: {done.named}  # in place of data"
        if done.of_bundle
        else f"  reference: {flow_yaml(golden)}"
    )
    return EXIT_DONE
