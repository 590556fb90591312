"""Decisions and reasons: what happens to a step, and why, as values. One place renders them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trtpipe.digests import Digest
from trtpipe.plan.fingerprint import Change

Cause = Literal["first", "changed", "forced", "missing_output", "corrupt_output", "no_trace"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause.

    first           nothing is known of an earlier run of this step
    changed         the fingerprint differs from the last one: `changes` says where
    forced          the user asked for it
    missing_output  the store lost what an earlier run yielded: `detail` names it
    corrupt_output  what the store holds is not what its digest says: `detail` names it
    no_trace        the fingerprint is the last one's, but the store has no trace of it
    """

    cause: Cause
    changes: tuple[Change, ...] = ()
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """The reason as a JSON object."""
        return {
            "cause": self.cause,
            "changes": [change.to_json() for change in self.changes],
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class UpToDate:
    """A trace exists and, for a step whose outputs are handed to the user, they are in place."""

    key: str
    outputs: Mapping[str, Digest]


@dataclass(frozen=True, slots=True)
class Restore:
    """A trace and its artifacts exist, but the build directory lacks them."""

    key: str
    outputs: Mapping[str, Digest]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """The action must run."""

    key: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Pending:
    """Inputs are unknown until the named steps have run."""

    waits_for: tuple[str, ...]


Decision = UpToDate | Restore | Run | Pending

DECISION_WORDS: Mapping[type, str] = {
    UpToDate: "up to date",
    Restore: "restore",
    Run: "run",
    Pending: "pending",
}


def show_value(value: Any) -> str:
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


def show_reason(reason: Reason, *, most: int = 3) -> str:
    """A reason on one line."""
    if reason.cause == "changed":
        shown = [
            f"{change.field}: {show_value(change.old)} -> {show_value(change.new)}"
            for change in reason.changes[:most]
        ]
        more = len(reason.changes) - most
        return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")
    fixed = {
        "first": "never built here",
        "forced": "asked for",
        "missing_output": f"the store lost {reason.detail}",
        "corrupt_output": f"the store's copy of {reason.detail} was damaged",
        "no_trace": "the store has no trace of it",
    }
    return fixed[reason.cause]


def decision_json(decision: Decision) -> dict[str, Any]:
    """A decision as a JSON object."""
    record: dict[str, Any] = {"decision": DECISION_WORDS[type(decision)].replace(" ", "_")}
    match decision:
        case UpToDate(key, outputs):
            record |= {"key": key, "outputs": {name: str(digest) for name, digest in outputs.items()}}
        case Restore(key, outputs, missing):
            record |= {"key": key, "outputs": {name: str(digest) for name, digest in outputs.items()}}
            record["missing"] = list(missing)
        case Run(key, reason):
            record |= {"key": key, "reason": reason.to_json()}
        case Pending(waits_for):
            record["waits_for"] = list(waits_for)
    return record
