"""Progress of a stage's child process: the events that it appends to a file and its parent reads from there.

A child does not know which step it works for; the parent adds the step's address and emits the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from trtpipe.json_values import Json, JsonObject, Malformed, integer_in, text_in

DownloadState = Literal["begin", "progress", "retry", "end"]


@dataclass(frozen=True, slots=True)
class Download:
    """One file that is being fetched, from `fetch/`.

    `begin` is sent for every try that got an answer, `progress` a few times a second, `retry` with the `trouble` that
    ended a try, `end` once the file is complete. `total` is None while the file's size is unknown.
    """

    state: DownloadState
    file: str
    bytes: int
    total: int | None
    trouble: str = ""

    def to_json(self) -> dict[str, Json]:
        """The report as a JSON object; only a `retry` has a text."""
        record: dict[str, Json] = {
            "state": self.state,
            "file": self.file,
            "bytes": self.bytes,
            "total": self.total,
        }
        return record | ({"text": self.trouble} if self.state == "retry" else {})

    @classmethod
    def from_json(cls, record: JsonObject) -> Download:
        """The report read back. Raises Malformed."""
        state = next((one for one in _states() if one == text_in(record, "state")), None)
        if state is None:
            raise Malformed("the state of a download is an unknown one")
        total = None if record.get("total") is None else integer_in(record, "total")
        trouble = text_in(record, "text") if state == "retry" else ""
        return cls(state, text_in(record, "file"), integer_in(record, "bytes"), total, trouble)


def _states() -> tuple[DownloadState, ...]:
    return get_args(DownloadState)


@dataclass(frozen=True, slots=True)
class SampleCount:
    """How many samples a calibrator has seen; the first `resumed` of them in an earlier run that was interrupted."""

    done: int
    total: int
    resumed: int

    def to_json(self) -> dict[str, Json]:
        """The report as a JSON object."""
        return {"done": self.done, "total": self.total, "resumed": self.resumed}

    @classmethod
    def from_json(cls, record: JsonObject) -> SampleCount:
        """The report read back. Raises Malformed."""
        return cls(integer_in(record, "done"), integer_in(record, "total"), integer_in(record, "resumed"))
