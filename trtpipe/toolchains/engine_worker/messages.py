"""Parses the engine worker's output: each line of JSON becomes one message, or is rejected."""

from __future__ import annotations

from trtpipe.json_values import JsonObject, Malformed, flag_in, integer_in, list_in, text_in
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


def message_from(record: JsonObject) -> WorkerMessage:  # noqa: C901 - a case for each message
    """The message in a line of the worker. Raises Malformed when a worker of this version would not write it."""
    kind = text_in(record, "event")
    match kind:
        case "start":
            action = _text_or_none(record, "action")
            return WorkerStart(action, integer_in(record, "pid"), integer_in(record, "schema"))
        case "phase":
            return _phase(record)
        case "log":
            return WorkerLog(text_in(record, "severity"), text_in(record, "message"))
        case "memory":
            peak = None if record.get("peak") is None else integer_in(record, "peak")
            return WorkerMemory(integer_in(record, "rss"), peak)
        case "network":
            return WorkerNetwork(text_in(record, "name"), integer_in(record, "layers"), record.get("io"))
        case "engine":
            memory = {name: integer_in(record, name) for name in record if name not in _ENGINE}
            return WorkerEngine(text_in(record, "file"), integer_in(record, "size"), memory)
        case "error":
            return _error(record)
        case "result":
            facts = {name: value for name, value in record.items() if name not in ("event", "ok")}
            return WorkerResult(flag_in(record, "ok"), facts)
    raise Malformed(f"the worker has no event '{kind}'")


_ENGINE = ("event", "file", "size")


def _phase(record: JsonObject) -> WorkerPhase:
    steps, step = integer_in(record, "steps"), integer_in(record, "step")
    parent = _text_or_none(record, "parent")
    return WorkerPhase(text_in(record, "name"), parent, steps, step, text_in(record, "state"))


def _error(record: JsonObject) -> WorkerError:
    return WorkerError(
        text_in(record, "kind"),
        text_in(record, "message"),
        text_in(record, "remedy"),
        list_in(record, "details"),
    )


def _text_or_none(record: JsonObject, name: str) -> str | None:
    return None if record.get(name) is None else text_in(record, name)
