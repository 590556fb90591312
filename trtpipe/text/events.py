"""Formats events as the JSON lines of `--json` and as plain lines; this is the only place that words them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.plan.build_end import BuildEnded
from trtpipe.plan.child_reports import Download, SampleCount
from trtpipe.plan.events import (
    BuildEvent,
    CalibrationProgress,
    CellDelivered,
    CheckStarted,
    ComparisonProgress,
    EngineNotProved,
    EngineProved,
    Event,
    FetchProgress,
    MeasuredOtherwise,
    PlanMade,
    ProgressEvent,
    ProofEvent,
    RebuildGraded,
    ReductionProgress,
    SameDespite,
    SearchProgress,
    StepBlocked,
    StepEvent,
    StepFailure,
    StepFinished,
    StepPlaced,
    StepStarted,
    StepWaiting,
    ToolchainProgress,
    Warned,
    WorkerProgress,
)
from trtpipe.plan.worker_messages import WorkerPhase
from trtpipe.shapes import format_size
from trtpipe.text.build_end import build_end_json
from trtpipe.text.decisions import decision_json, show_changed_fields
from trtpipe.text.plans import plan_json
from trtpipe.text.worker_messages import message_json
from trtpipe.unions import assert_never

if TYPE_CHECKING:
    from trtpipe.json_values import Json


_STOPPED = "the build was stopped"


def event_json(event: Event) -> dict[str, Json]:
    """An event as a JSON object; `event` names its kind."""
    if isinstance(event, StepEvent):
        return _step_json(event)
    if isinstance(event, ProgressEvent):
        return _progress_json(event)
    if isinstance(event, ProofEvent):
        return _proof_json(event)
    return _build_json(event)


def event_lines(event: Event) -> list[str]:
    """An event as plain lines; most events have none."""
    if isinstance(event, StepEvent):
        return _step_lines(event)
    if isinstance(event, ProgressEvent):
        return _progress_lines(event)
    if isinstance(event, ProofEvent):
        return _proof_lines(event)
    return _build_lines(event)


def phase_words(event: ProgressEvent) -> str:
    """The phase that a live view shows beside a running step; empty if there is nothing new to show."""
    match event:
        case FetchProgress(_, download):
            return download.file.rsplit("/", 1)[-1] + _amount(download)
        case CalibrationProgress(_, samples):
            return f"{samples.done} of {samples.total} samples"
        case SearchProgress(_, phase, asked):
            return f"{phase}, {asked} evaluations"
        case ReductionProgress(_, phase, tried):
            return f"{phase}, {tried} evaluations"
        case ComparisonProgress(_, done):
            return f"tensors, {done} evaluations"
        case WorkerProgress(_, WorkerPhase(name)):
            return name
        case WorkerProgress() | ToolchainProgress():
            return ""
    assert_never(event)


# -- JSON


def _step_json(event: StepEvent) -> dict[str, Json]:
    match event:
        case StepStarted(address, decision):
            return {"event": "start", "address": str(address), **decision_json(decision)}
        case StepWaiting(address):
            return {"event": "waiting", "address": str(address)}
        case StepPlaced(address, lane):
            return {"event": "placed", "address": str(address), "lane": lane}
        case StepFinished(address, key, ran, seconds, summary):
            took: dict[str, Json] = {"ran": ran, "seconds": seconds, "summary": dict(summary)}
            return {"event": "done", "address": str(address), "key": key, **took}
        case StepFailure(address, problems):
            return {"event": "failed", "address": str(address), "problems": [one.fact for one in problems]}
        case StepBlocked(address, by):
            return {
                "event": "blocked",
                "address": str(address),
                "by": str(by) if by is not None else _STOPPED,
            }
    assert_never(event)


def _progress_json(event: ProgressEvent) -> dict[str, Json]:
    match event:
        case ToolchainProgress(address, text):
            return {"event": "provision", "address": str(address), "text": text}
        case FetchProgress(address, download):
            return {"event": "fetch", **download.to_json(), "address": str(address)}
        case CalibrationProgress(address, samples):
            return {"event": "calibrate", **samples.to_json(), "address": str(address)}
        case SearchProgress(address, phase, asked, ran, begins):
            counts: dict[str, Json] = {"asked": asked, "ran": ran, "begins": begins}
            return {"event": "evaluated", "address": str(address), "phase": phase, **counts}
        case ReductionProgress(cell, phase, tried, begins):
            counts = {"asked": tried, "what": "reduce", "ran": tried, "begins": begins}
            return {"event": "evaluated", "address": cell, "phase": phase, **counts}
        case ComparisonProgress(cell, done):
            counts = {"asked": done, "what": "compare", "phase": "tensors", "ran": done, "begins": done == 1}
            return {"event": "evaluated", "address": cell, **counts}
        case WorkerProgress(address, message):
            record = message_json(message)
            return {**record, "event": f"worker_{record['event']}", "address": str(address)}
    assert_never(event)


def _build_json(event: BuildEvent) -> dict[str, Json]:  # noqa: C901 - a case for each event
    match event:
        case PlanMade(plan, decisions):
            return {"event": "plan", **plan_json(plan, decisions)}
        case CellDelivered():
            return _delivered(event)
        case Warned(text, address):
            return {"event": "warning", **({"address": str(address)} if address else {}), "text": text}
        case SameDespite(name, locked, here):
            return {"event": "same_despite", "name": name, "lockfile": locked, "here": here}
        case MeasuredOtherwise(cell, measure, locked, here):
            told = {"event": "measured_otherwise", "cell": cell, "measure": measure}
            return {**told, "lockfile": locked, "here": here}
        case CheckStarted(address):
            return {"event": "check", "address": str(address), "state": "begin"}
        case RebuildGraded():
            return _graded(event)
        case BuildEnded():
            return build_end_json(event)
    assert_never(event)


def _proof_json(event: ProofEvent) -> dict[str, Json]:
    match event:
        case EngineProved(cell, gpu, agent, outcome):
            return {"event": "proved", "cell": cell, "gpu": gpu, "agent": agent, "outcome": outcome}
        case EngineNotProved(cell, why):
            return {"event": "not_proved", "cell": cell, "why": why}
    assert_never(event)


def _delivered(event: CellDelivered) -> dict[str, Json]:
    return {
        "event": "delivered",
        "built": event.built,
        "cell": event.cell,
        "about": event.about,
        "directory": str(event.directory),
        "validation": dict(event.validation),
        "audit": dict(event.audit),
        "typed": dict(event.typed),
        "reach": [dict(link) for link in event.reach],
        "not_run": list(event.not_run),
    }


def _graded(event: RebuildGraded) -> dict[str, Json]:
    return {
        "event": "graded",
        "name": event.name,
        "grade": event.grade,
        "passed": event.passed,
        "details": list(event.details),
        "not_run": list(event.not_run),
        "seconds": round(event.seconds, 3),
    }


# -- plain lines


def _step_lines(event: StepEvent) -> list[str]:
    match event:
        case StepStarted(address, decision):
            changed = show_changed_fields(decision.reason)
            return [f"start    {address}" + (f": {changed}" if changed else "")]
        case StepWaiting(address):
            return [f"wait     {address}: the same work is under way already"]
        case StepPlaced(address, lane):
            return [f"send     {address} to {lane}"]
        case StepFinished(address, ran=True, seconds=seconds):
            return [f"done     {address} in {seconds:.1f} s"]
        case StepFailure(address):
            return [f"FAILED   {address}"]
        case StepFinished() | StepBlocked():
            return []
    assert_never(event)


def _progress_lines(event: ProgressEvent) -> list[str]:
    """A download that begins or is tried again, a phase that begins, a calibration that goes on from where an
    interrupted one was."""
    match event:
        case FetchProgress(_, Download(state="begin") as download):
            return [f"fetch    {download.file}{_amount(download)}"]
        case FetchProgress(_, Download(state="retry") as download):
            return [f"retry    {download.file}: {download.trouble}"]
        case CalibrationProgress(address, SampleCount(done, total, resumed)) if resumed and done == resumed:
            return [f"resume   {address}: {done} of {total} samples are done"]
        case SearchProgress(address, phase, begins=True):
            return [f"search   {address}: {phase}"]
        case ReductionProgress(cell, phase, begins=True):
            return [f"reduce   {cell}: {phase}"]
        case ComparisonProgress(cell, done=1):
            return [f"compare  {cell}: tensors"]
        case (
            FetchProgress()
            | CalibrationProgress()
            | SearchProgress()
            | ReductionProgress()
            | ComparisonProgress()
            | ToolchainProgress()
            | WorkerProgress()
        ):
            return []
    assert_never(event)


def _proof_lines(event: ProofEvent) -> list[str]:
    match event:
        case EngineProved(cell, gpu, agent, outcome):
            word = {"passed": "proved", "failed": "FAILED"}.get(outcome, "not run")
            return [f"{word:8} {cell} on {gpu} (agent {agent})"]
        case EngineNotProved(cell, why):
            return [f"not run  {cell}: the engine {why}"]
    assert_never(event)


def _build_lines(event: BuildEvent) -> list[str]:
    match event:
        case CellDelivered(cell, built, about):
            return [f"{'built   ' if built else 'restored'} {cell} ({about})"]
        case Warned(text):
            return [f"warning: {text}"]
        case SameDespite(name, locked, here):
            return [
                f"note: {name} {locked or 'unknown'} in the lockfile, {here or 'none'} here: same results"
            ]
        case MeasuredOtherwise(cell, measure, locked, here):
            return [
                f"note: {cell}: {measure} {locked} in the lockfile, {here} here, with other packages or processor"
            ]
        case RebuildGraded(name, grade):
            return [f"checked  {name}: {grade or 'not run'}"]
        case PlanMade() | CheckStarted() | BuildEnded():
            return []
    assert_never(event)


def _amount(download: Download) -> str:
    """How much of a file has been downloaded: ` (3 MiB of 45 MiB)`."""
    shown = " of ".join(format_size(size) for size in (download.bytes, download.total) if size)
    return f" ({shown})" if shown else ""
