"""A trace's file: its JSON object and, in it, the digest of the rest."""

from __future__ import annotations

import json

from trtpipe.digests import digest_bytes
from trtpipe.json_values import JsonObject, as_object, number_in, object_in, text_in
from trtpipe.plan.trace import Trace


def written_trace(trace: Trace) -> bytes:
    """The file's text."""
    data = trace.to_json()
    return json.dumps({**data, "blake3": _digest_of(data)}, indent=1, ensure_ascii=False).encode()


def read_trace(text: bytes) -> Trace | None:
    """The trace, or None when it is damaged."""
    try:
        data = dict(as_object(json.loads(text), "the trace"))
        if data.pop("blake3", None) != _digest_of(data):
            return None
        _check(data)
        return Trace.from_json(data)
    except (ValueError, KeyError, RecursionError):
        return None


def _check(data: JsonObject) -> None:
    """Raises Malformed where a field is of another kind; `Trace.from_json` looks at the rest."""
    text_in(data, "key"), text_in(data, "address"), number_in(data, "seconds")
    object_in(data, "fingerprint"), object_in(data, "summary")
    outputs = object_in(data, "outputs")
    for name in outputs:
        text_in(outputs, name)


def _digest_of(data: JsonObject) -> str:
    return digest_bytes(json.dumps(data, sort_keys=True).encode()).hex
