"""Formats the engine worker's messages as the JSON lines that it writes.

The inverse of `toolchains/engine_worker/messages.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.plan.worker_messages import (
    WorkerEngine,
    WorkerError,
    WorkerLog,
    WorkerMemory,
    WorkerMessage,
    WorkerNetwork,
    WorkerPhase,
    WorkerResult,
    WorkerStart,
)
from trtpipe.unions import assert_never

if TYPE_CHECKING:
    from trtpipe.json_values import Json


def message_json(message: WorkerMessage) -> dict[str, Json]:  # noqa: C901 - a case for each message
    """A message as a JSON object; `event` names its kind."""
    match message:
        case WorkerStart(action, pid, schema):
            return {"event": "start", "action": action, "pid": pid, "schema": schema}
        case WorkerPhase(name, parent, steps, step, state):
            counts: dict[str, Json] = {"steps": steps, "step": step, "state": state}
            return {"event": "phase", "name": name, "parent": parent, **counts}
        case WorkerLog(severity, text):
            return {"event": "log", "severity": severity, "message": text}
        case WorkerMemory(rss, peak):
            return {"event": "memory", "rss": rss, "peak": peak}
        case WorkerNetwork(name, layers, io):
            return {"event": "network", "name": name, "layers": layers, "io": io}
        case WorkerEngine(file, size, memory):
            return {"event": "engine", "file": file, "size": size, **memory}
        case WorkerError(kind, text, remedy, details):
            return {"event": "error", "kind": kind, "message": text, "remedy": remedy, "details": details}
        case WorkerResult(ok, facts):
            return {"event": "result", "ok": ok, **facts}
    assert_never(message)
