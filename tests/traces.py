"""Traces as a store believes them: the key is that of the fingerprint."""

from __future__ import annotations

from collections.abc import Mapping

from trtpipe.digests import Digest, key_of
from trtpipe.plan.trace import Trace


def trace_of(
    record: Mapping[str, object],
    outputs: Mapping[str, Digest] | None = None,
    summary: Mapping[str, object] | None = None,
    address: str = "digits:import",
) -> Trace:
    """The trace of an action with this fingerprint."""
    return Trace(key_of(record), address, dict(record), dict(outputs or {}), dict(summary or {}), 0.5)
