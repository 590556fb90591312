"""Progress of remote work as JSON: what an agent reports while it runs an action, and what the client shows of it."""

from __future__ import annotations

from trtpipe.fleet.protocol import ID
from trtpipe.json_values import Json, JsonObject, Malformed, as_object, object_in, text_in
from trtpipe.plan.address import Address
from trtpipe.plan.child_reports import Download, SampleCount
from trtpipe.plan.events import (
    CalibrationProgress,
    Event,
    FetchProgress,
    ToolchainProgress,
    Warned,
    WorkerProgress,
)
from trtpipe.text.worker_messages import message_json
from trtpipe.toolchains.engine_worker.messages import message_from


def progress_json(event: Event) -> dict[str, Json] | None:
    """An event of an agent's performer as a JSON object; None if a client has no use for it."""
    match event:
        case WorkerProgress(_, message):
            return {"kind": "worker", "report": message_json(message)}
        case CalibrationProgress(_, samples):
            return {
                "kind": "calibration",
                "report": {"done": samples.done, "total": samples.total, "resumed": samples.resumed},
            }
        case FetchProgress(_, download):
            return {"kind": "fetch", "report": download.to_json()}
        case ToolchainProgress(_, text):
            return {"kind": "toolchain", "report": {"text": text}}
        case Warned(text):
            return {"kind": "warning", "report": {"text": text}}
    return None


def progress_event(record: JsonObject, address: Address) -> Event:
    """The event of a step from what an agent reported. Raises Malformed."""
    report = object_in(record, "report")
    match text_in(record, "kind"):
        case "worker":
            return WorkerProgress(address, message_from(report))
        case "calibration":
            return CalibrationProgress(address, SampleCount.from_json(report))
        case "fetch":
            return FetchProgress(address, Download.from_json(report))
        case "toolchain":
            return ToolchainProgress(address, text_in(report, "text"))
        case "warning":
            return Warned(text_in(report, "text"))
        case kind:
            raise Malformed(f"a report of kind {kind!r}")


def reported(message: object) -> tuple[str, JsonObject]:
    """The request that a message of dask's topic belongs to, and the message. Raises Malformed."""
    record = as_object(message, "a message of an agent")
    return text_in(record, ID), record
