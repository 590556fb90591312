"""`trtpipe build` when something may have changed: plan, prove, run, report."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import replace

from trtpipe.building.build import HowToBuild, default_jobs, run_build
from trtpipe.building.lock_refusals import Agreed, refuse_contradicting_store, refuse_differences
from trtpipe.building.lock_writer import refresh_lock
from trtpipe.building.outcome import Outcome
from trtpipe.building.planned import Planned, make_plan, nothing_to_do, runs
from trtpipe.building.prefetch import prefetch_files
from trtpipe.building.stamp import take, take_settled
from trtpipe.building.unchanged.settled import Settled, open_unsettled, remember
from trtpipe.cli.annotations import annotate, annotate_failures
from trtpipe.cli.build_end import Closing
from trtpipe.cli.build_options import BuildOptions
from trtpipe.cli.early import expect_reports, expect_runs
from trtpipe.cli.fleets.use import FleetOptions, fleet_gpus, opened_fleet
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, EXIT_LOCK, note, show_error
from trtpipe.cli.progress import LazyProgress, Progress, open_progress
from trtpipe.cli.report import mend_reports, tell_reports
from trtpipe.errors import Interrupted, LockMismatch, ModelError, StepFailed, TrtpipeError
from trtpipe.plan.events import PlanMade, Warned
from trtpipe.timings import current_recording, span
from trtpipe.workspace.former_stores import former_line, store_line
from trtpipe.workspace.reports_mark import ReportsMark, found_mark, is_marked, set_mark
from trtpipe.workspace.stores import use_remote
from trtpipe.workspace.workspace import Workspace


def plan_and_run(options: BuildOptions, closing: Closing) -> int:
    """Build, and record the result in `closing`. 1 when a step or a threshold failed, 3 when the lockfile disagrees."""
    planned = _planned(options)
    if planned is None:
        closing.text = "nothing to do"
        return EXIT_DONE
    frozen = _held_to_lock(planned, options)
    if nothing_to_do(planned):
        if frozen is not None:
            _say_agreement(planned, frozen, options)
        closing.text = _put_in_order(planned, options)
        return EXIT_DONE
    workspace = planned.workspace
    if not options.fleet.wanted(workspace.project):
        expect_runs(planned)
    with span("prove the specs", "build"):
        _prove(planned, options)
    _tell(planned)
    outcome = closing.outcome = Outcome()
    # From here on the reports may be incomplete, whatever ends this build: the marker tells the next one.
    before, mark = found_mark(workspace.state.path), set_mark(workspace.state.path)
    with span("run the steps", "build"):
        _run(planned, options, closing, outcome, frozen, mark)
    if frozen is None or not any(isinstance(error, LockMismatch) for _, error in outcome.failures):
        tell_reports(planned, outcome, mark)
    elif not before.is_set:  # nothing was delivered or written, so the reports are still right
        mark.lift()
    return _ended(planned, options, outcome)


def _ended(planned: Planned, options: BuildOptions, outcome: Outcome) -> int:
    """Record what a later build need not look at; returns the exit code."""
    outcome.fresh += planned.settled.cells
    if not (outcome.failures or outcome.blocked):
        _remember(planned, options)
        return EXIT_DONE
    if not options.frozen:
        remember(planned, [*outcome.built, *outcome.restored, *outcome.fresh])
    otherwise = all(isinstance(error, LockMismatch) for _, error in outcome.failures)
    return EXIT_LOCK if outcome.failures and otherwise else EXIT_FAILED


def _planned(options: BuildOptions) -> Planned | None:
    """The plan of what may have changed; None if nothing may have."""
    with span("read the specs", "build"):
        began = time.time_ns()
        workspace, settled = _opened(options)
        if workspace is None:
            take_settled(settled, options.specs, began)
            return None
        use_remote(workspace.store, offline=options.offline, required=options.require_remote)
    with span("plan", "build"):
        gpus = fleet_gpus(options.fleet, workspace.project, workspace.store)
        planned = make_plan(workspace, force=options.force, search_again=options.search_again, gpus=gpus)
    return replace(planned, settled=settled)


def _opened(options: BuildOptions) -> tuple[Workspace | None, Settled]:
    """What is to be planned, and what is settled; all is planned where the build is about more than what changed."""
    use = not (options.runs_known or options.as_json)
    workspace, settled = open_unsettled(options.specs, options.only, use=use, reports=True)
    if workspace is None:
        assert settled.root is not None
        again = is_marked(settled.root)  # the reports of an earlier build are to be completed
    else:
        again = bool(settled.pipelines) and options.fleet.wanted(workspace.project)
    return open_unsettled(options.specs, options.only, use=False) if again else (workspace, settled)


def _held_to_lock(planned: Planned, options: BuildOptions) -> Agreed | None:
    """The lockfile, for a `--frozen` build. Raises LockMismatch, also when the store contradicts it."""
    frozen = refuse_differences(planned) if options.frozen else None
    _introduce(planned.workspace)
    if frozen is None:
        refuse_contradicting_store(planned)
    return frozen


def _run(
    planned: Planned,
    options: BuildOptions,
    closing: Closing,
    outcome: Outcome,
    frozen: Agreed | None,
    mark: ReportsMark,
) -> None:
    """Run the plan, and report what went wrong, however it ends."""
    store = planned.workspace.store
    try:
        with open_progress(
            as_json=options.as_json, total=len(planned.plan.steps), began=closing.began
        ) as progress:
            if options.as_json:
                progress.emit(PlanMade(planned.plan, planned.decisions))
            expect_reports()
            prefetch_files(planned.plan, planned.decisions, planned.undelivered, store)
            _on_machines(planned, progress, options, outcome, frozen)
        store.settle()
    except BaseException as error:
        store.settle(give_up=True)
        if isinstance(error, Interrupted):
            tell_reports(planned, outcome, mark, interrupted=True)
        raise
    finally:
        _tell(planned)
        if not options.as_json:
            _show_failures(outcome, planned)
        annotate_failures(outcome.failures)


def _on_machines(
    planned: Planned, progress: Progress, options: BuildOptions, outcome: Outcome, frozen: Agreed | None
) -> None:
    """Run the plan here, or on a fleet."""
    project, store, jobs = planned.workspace.project, planned.workspace.store, options.jobs or default_jobs()
    needed = options.fleet if runs(planned) else FleetOptions("local")
    lock = frozen.lock if frozen is not None else None
    with ExitStack() as stack:
        fleet = stack.enter_context(opened_fleet(needed, project, store, jobs))
        proofs = None
        if fleet is not None:
            from trtpipe.app.prove.build_proofs import build_proofs
            from trtpipe.building.engines.jobs import EngineJobs

            jobs = fleet.jobs(options.jobs)
            if (recording := current_recording()) is not None:
                recording.remarks.append("what agents did within a step was not recorded")
            fleet.say = lambda text: progress.emit(Warned(text))
            proofs = stack.enter_context(
                build_proofs(planned, EngineJobs(fleet, options.offline, tells=False), progress)
            )
        how = HowToBuild(jobs, options.keep_going, options.offline, lock, fleet, proofs)
        run_build(planned, progress, outcome, how)


def _introduce(workspace: Workspace) -> None:
    """Register the project with the store; mention a new store once, and a former store every time."""
    with suppress(OSError):  # a read-only store can still be used
        workspace.store.introduce()
    first = not workspace.state.path.exists()
    former = former_line(workspace.project, workspace.store)
    if first or former:
        note(f"the store is {store_line(workspace.store)}")
    if former:
        note(f"warning: {former}")


def _say_agreement(planned: Planned, frozen: Agreed, options: BuildOptions) -> None:
    with LazyProgress(as_json=options.as_json) as progress:
        for event in frozen.events(planned):
            progress.emit(event)


def _put_in_order(planned: Planned, options: BuildOptions) -> str:
    """Nothing is to be built: finish what an earlier build left undone, and say so."""
    parts = ["nothing to do"]
    bundles = [
        one.name for one in planned.workspace.whole_bundles
    ]  # all complete, or there was something to do
    if not options.frozen and refresh_lock(planned, [cell.name for cell in planned.plan.cells], bundles):
        parts.append("lockfile written")
    if mend_reports(planned):
        parts.append("reports written")
    _remember(planned, options)
    return ", ".join(parts)


def _remember(planned: Planned, options: BuildOptions) -> None:
    """Every cell is delivered and the lockfile written, so the next build need only compare signatures."""
    remember(planned, [cell.name for cell in planned.plan.cells])
    take(planned, options.specs, options.only)
    planned.workspace.state.save()


def _prove(planned: Planned, options: BuildOptions) -> None:
    """Report everything that `check` refuses before anything runs."""
    if not runs(planned) and not planned.workspace.bundles:
        return
    from trtpipe.checks.check import prove_before_building

    with LazyProgress(as_json=options.as_json) as progress:
        warnings = prove_before_building(planned, offline=options.offline, observer=progress)
    for problem in warnings:
        note(str(problem))
    annotate(warnings)


def _tell(planned: Planned) -> None:
    """Report damage that was found while the plan was made."""
    for text in planned.workspace.store.warnings:
        note(f"warning: {text}")
    planned.workspace.store.warnings.clear()


def _show_failures(outcome: Outcome, planned: Planned) -> None:
    together: dict[str, list[tuple[str, TrtpipeError]]] = {}
    for name, error in outcome.failures:
        together.setdefault(f"{error}{getattr(error, 'log', '')}", []).append((name, error))
    for failures in together.values():
        note(f"\n{', '.join(name for name, _ in failures)} failed:")
        show_error(failures[0][1])
        _show_reproduction(*failures[0], planned)


def _show_reproduction(address: str, error: TrtpipeError, planned: Planned) -> None:
    """Print how to reproduce a failed step elsewhere, unless the spec itself is wrong."""
    from trtpipe.app.debug.repro import NO_PROCESS

    step = next((one for one in planned.plan.steps.values() if str(one.address) == address), None)
    served = [] if step is None else [one for one in planned.plan.cells if step.address in one.steps.values()]
    if (
        isinstance(error, (StepFailed, ModelError))
        and step is not None
        and step.stage not in NO_PROCESS
        and served
    ):
        note(f"`trtpipe debug repro {served[0].name}` writes what it takes to see this elsewhere")
