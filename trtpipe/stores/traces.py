"""A trace's file: its JSON object, perhaps with a signature, and the digest of all that."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

from trtpipe.digests import digest_bytes
from trtpipe.json_values import JsonObject, as_object, number_in, object_in, text_in
from trtpipe.plan.trace import Trace


def written_trace(trace: Trace, sign: Callable[[JsonObject], JsonObject] | None = None) -> bytes:
    """The file's text, signed where somebody signs it."""
    data: JsonObject = trace.to_json()
    if sign is not None:
        with contextlib.suppress(ValueError):  # a number that is none: nobody else could read it
            data = sign(data)
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
