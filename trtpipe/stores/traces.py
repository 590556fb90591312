"""A trace's file: its JSON object and, in it, the digest of the rest."""

from __future__ import annotations

import json
from typing import Any

from trtpipe.digests import digest_bytes
from trtpipe.plan.trace import Trace


def written_trace(trace: Trace) -> bytes:
    """The file's text."""
    data = trace.to_json()
    return json.dumps({**data, "blake3": _digest_of(data)}, indent=1, ensure_ascii=False).encode()


def read_trace(text: bytes) -> Trace | None:
    """The trace, or None when it is damaged."""
    try:
        data = json.loads(text)
        digest = data.pop("blake3")
        return Trace.from_json(data) if digest == _digest_of(data) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _digest_of(data: dict[str, Any]) -> str:
    return digest_bytes(json.dumps(data, sort_keys=True).encode()).hex
