"""Traces: what a past action consumed and produced, looked up by its key.

A trace is written only for an action that succeeded; failures are not recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trtpipe.digests import Digest
from trtpipe.plan.fingerprint import Record

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """One successful action. `summary` holds the facts for reports (timings, audit, comparisons)."""

    key: str
    address: str
    fingerprint: Record
    outputs: Mapping[str, Digest]
    summary: Record = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def stage(self) -> str:
        """The stage of the action; empty for a note that belongs to no stage."""
        return str(self.fingerprint.get("stage", ""))

    def to_json(self) -> dict[str, Any]:
        """The trace as a JSON object."""
        return {
            "schema": SCHEMA,
            "key": self.key,
            "address": self.address,
            "outputs": {name: str(digest) for name, digest in self.outputs.items()},
            "seconds": round(self.seconds, 6),
            "fingerprint": dict(self.fingerprint),
            "summary": dict(self.summary),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trace:
        """The trace read back. Raises ValueError or KeyError when it is damaged or of another schema."""
        if data["schema"] != SCHEMA:
            raise ValueError(f"trace of schema {data['schema']!r}")
        outputs = {name: Digest.parse(text) for name, text in data["outputs"].items()}
        return cls(
            data["key"], data["address"], data["fingerprint"], outputs, data["summary"], data["seconds"]
        )
