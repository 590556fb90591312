"""Formats the final event of `build --json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.text.problems import problem_json

if TYPE_CHECKING:
    from trtpipe.json_values import Json
    from trtpipe.plan.build_end import BuildEnded, FailedItem


def build_end_json(event: BuildEnded) -> dict[str, Json]:
    """The event as a JSON object."""
    return {
        "event": "end",
        "built": list(event.built),
        "restored": list(event.restored),
        "up_to_date": list(event.up_to_date),
        "failed": [_failed(one) for one in event.failed],
        "not_built": list(event.not_built),
        "lock_changed": event.lock_changed,
        "interrupted": event.interrupted,
        "problems": [problem_json(one) for one in event.problems],
        "closing": event.closing,
    }


def _failed(item: FailedItem) -> dict[str, Json]:
    return {
        "step": item.name,
        "problems": [problem_json(one) for one in item.problems],
        "log": item.log,
    }
