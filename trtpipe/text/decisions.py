"""Formats decisions and their reasons as words and as JSON; this is the only place that words them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtpipe.json_values import Json
from trtpipe.plan.decisions import Decision, Pending, Restore, Run, UpToDate
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.reasons import Changed, CorruptOutput, First, Forced, MissingOutput, NoTrace, Reason
from trtpipe.unions import assert_never

DECISION_WORDS: Mapping[type, str] = {
    UpToDate: "up to date",
    Restore: "restore",
    Run: "run",
    Pending: "pending",
}


def show_value(value: object) -> str:
    """A fingerprint field's value for a reader: digests shortened, lists compact."""
    if value is None:
        return "(none)"
    if isinstance(value, str):
        head, slash, size = value.partition("/")
        is_digest = slash and len(head) == 64 and size.isdigit()
        return f"{head[:12]} ({size} bytes)" if is_digest else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(show_value(item) for item in value) + "]"
    return str(value)


def show_change(change: Change) -> str:
    """A changed field with its old value and its new one."""
    return f"{change.field}: {show_value(change.old)} -> {show_value(change.new)}"


def show_changes(changes: Sequence[Change], *, most: int) -> str:
    """Changes on one line: the first `most` with their values, the others by name."""
    shown = [show_change(change) for change in changes[:most]]
    others = ", ".join(change.field for change in changes[most:])
    return "; ".join([*shown, *([f"also {others}"] if others else [])])


def show_reason(reason: Reason, *, most: int = 3) -> str:
    """A reason on one line, with the values of the first `most` of its changes."""
    match reason:
        case First():
            return "never built here"
        case Changed(changes):
            return show_changes(changes, most=most)
        case Forced():
            return "asked for"
        case MissingOutput(names):
            return f"the store lost {', '.join(names)}"
        case CorruptOutput(what):
            return f"the store's copy of {what} was damaged"
        case NoTrace():
            return "the store has no trace of it"
    assert_never(reason)


def show_changed_fields(reason: Reason, *, most: int = 3) -> str:
    """The names of the fields that changed (`changed options.keep, tools.onnx`), for a line with little room.

    Empty for every other reason.
    """
    if not isinstance(reason, Changed):
        return ""
    names = ", ".join(change.field for change in reason.changes[:most])
    return f"changed {names}" + (" …" if len(reason.changes) > most else "")


def reason_json(reason: Reason) -> dict[str, Json]:
    """A reason as a JSON object: `cause`, `changes` and `detail`; the last two are empty if they do not apply."""
    match reason:
        case First():
            return _reason("first")
        case Changed(changes):
            return _reason("changed", changes)
        case Forced():
            return _reason("forced")
        case MissingOutput(names):
            return _reason("missing_output", detail=", ".join(names))
        case CorruptOutput(what):
            return _reason("corrupt_output", detail=what)
        case NoTrace():
            return _reason("no_trace")
    assert_never(reason)


def _reason(cause: str, changes: tuple[Change, ...] = (), detail: str = "") -> dict[str, Json]:
    return {"cause": cause, "changes": [change.to_json() for change in changes], "detail": detail}


def decision_json(decision: Decision) -> dict[str, Json]:
    """A decision as a JSON object."""
    record: dict[str, Json] = {"decision": DECISION_WORDS[type(decision)].replace(" ", "_")}
    match decision:
        case UpToDate(key, outputs):
            record |= {"key": key, "outputs": {name: str(digest) for name, digest in outputs.items()}}
        case Restore(key, outputs, missing):
            record |= {"key": key, "outputs": {name: str(digest) for name, digest in outputs.items()}}
            record["missing"] = list(missing)
        case Run(key, reason):
            record |= {"key": key, "reason": reason_json(reason)}
        case Pending(waits_for, changes, forced):
            record |= {"waits_for": list(map(str, waits_for)), "forced": forced}
            record["changes"] = [change.to_json() for change in changes]
        case _:
            assert_never(decision)
    return record
