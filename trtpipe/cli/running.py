"""What `trtpipe build` does once something may have changed: plan, prove, run, tell."""

from __future__ import annotations

import time
from typing import Any

from trtpipe.cli.building import BuildOptions, say_nothing
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, note, say, show_error
from trtpipe.cli.progress import LazyProgress, open_progress
from trtpipe.errors import TrtpipeError
from trtpipe.rendering.plans import plan_json
from trtpipe.system.building import (
    Outcome,
    Planned,
    default_jobs,
    make_plan,
    nothing_to_do,
    refresh_lock,
    run_build,
    runs,
)
from trtpipe.system.workspace import open_workspace


def plan_and_run(options: BuildOptions) -> int:
    """Build; one closing line. 1 when a step or a threshold failed."""
    began = time.perf_counter()
    as_json = options.as_json
    planned = make_plan(open_workspace(options.specs, options.only), force=options.force)
    if nothing_to_do(planned):
        changed = refresh_lock(planned, [cell.name for cell in planned.plan.cells])
        _remember(planned, options)
        return say_nothing("nothing to do" + (", lockfile written" if changed else ""), as_json=as_json)
    _prove(planned, options)
    _tell(planned)
    with open_progress(as_json=as_json, total=len(planned.plan.steps)) as progress:
        if as_json:
            progress.emit({"event": "plan", **plan_json(planned.plan, planned.decisions)})
        outcome = run_build(
            planned,
            progress,
            jobs=options.jobs or default_jobs(),
            keep_going=options.keep_going,
            offline=options.offline,
        )
        seconds = time.perf_counter() - began
        if as_json:
            progress.emit(_end_event(outcome, seconds))
    if not as_json:
        _show_failures(outcome)
        say(closing_line(outcome, seconds))
    if outcome.failures or outcome.blocked:
        return EXIT_FAILED
    _remember(planned, options)
    return EXIT_DONE


def _remember(planned: Planned, options: BuildOptions) -> None:
    """Every cell is delivered and the lockfile written: the next build may compare signatures only."""
    from trtpipe.system.stamp import take

    take(planned, options.specs, options.only)
    planned.workspace.state.save()


def _prove(planned: Planned, options: BuildOptions) -> None:
    """Whatever `check` can refuse is refused before anything runs."""
    if not runs(planned):
        return
    from trtpipe.system.checking import prove_before_building

    with LazyProgress(as_json=options.as_json) as progress:
        warnings = prove_before_building(planned, offline=options.offline, observer=progress)
    for problem in warnings:
        note(str(problem))


def _tell(planned: Planned) -> None:
    """What was found damaged while the plan was made."""
    for text in planned.workspace.store.warnings:
        note(f"warning: {text}")
    planned.workspace.store.warnings.clear()


def _show_failures(outcome: Outcome) -> None:
    together: dict[str, list[tuple[str, TrtpipeError]]] = {}
    for name, error in outcome.failures:
        together.setdefault(f"{error}{getattr(error, 'log', '')}", []).append((name, error))
    for failures in together.values():
        note(f"\n{', '.join(name for name, _ in failures)} failed:")
        show_error(failures[0][1])


def closing_line(outcome: Outcome, seconds: float) -> str:
    """`built 2 engines, 3 restored, 7 up to date in 41.0 s`, and what did not work."""
    engines = "engine" if len(outcome.built) == 1 else "engines"
    parts = [f"built {len(outcome.built)} {engines}"]
    for names, word in (
        (outcome.restored, "restored"),
        (outcome.fresh, "up to date"),
        (outcome.failures, "failed"),
        (outcome.blocked, "not built"),
    ):
        if names:
            parts.append(f"{len(names)} {word}")
    return ", ".join(parts) + f" in {seconds:.1f} s"


def _end_event(outcome: Outcome, seconds: float) -> dict[str, Any]:
    return {
        "event": "end",
        "built": outcome.built,
        "restored": outcome.restored,
        "up_to_date": outcome.fresh,
        "failed": [_failure(name, error) for name, error in outcome.failures],
        "not_built": outcome.blocked,
        "lock_changed": outcome.lock_changed,
        "closing": closing_line(outcome, seconds),
    }


def _failure(name: str, error: TrtpipeError) -> dict[str, Any]:
    problems = [{"fact": one.fact, "remedy": one.remedy} for one in error.problems]
    return {"step": name, "problems": problems, "log": getattr(error, "log", "")}
