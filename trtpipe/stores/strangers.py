"""Traces that somebody else wrote: believed only where everything that can be checked is right.

A trace answers for one key. The key is the digest of the fingerprint, which must be the one that was asked for, so a
trace cannot pass for another step's. What it says of the outcome cannot be checked; a signature says who said so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from trtpipe.digests import Digest, key_of
from trtpipe.plan.address import STAGE_VERSIONS
from trtpipe.plan.trace import SCHEMA, Trace
from trtpipe.spec.remote import is_plain_relative

MOST_BYTES = 32 << 20
_MOST_OUTPUTS = 10_000
_LARGEST = 1 << 44
_LONGEST = 1000
_FIELDS = {
    "schema": int,
    "key": str,
    "address": str,
    "outputs": dict,
    "seconds": (int, float),
    "fingerprint": dict,
    "summary": dict,
}


_TOLD: dict[str, dict[str, type]] = {
    "fetch": {"files": dict},
    "search": {"from": str, "choice": dict},
    "evaluate": {"answer": dict},
    "quantize": {"audit": dict},
    "build_engine": {"normalised": str, "version": str, "layer_counts": dict, "io": list},
    "validate": {"places": list, "twins": dict},
}
"""What a stage's summary holds at least: others read it without asking whether it is there."""


class Untrusted(Exception):
    """A trace that is not to be believed, and why."""


def is_shared(record: Mapping[str, object], *, fetched: bool) -> bool:
    """Whether traces of such a fingerprint are exchanged.

    What an address or a pin came to is only taken from those who sign (`fetched`): a pin is the word of the spec.
    """
    stage = record.get("stage")
    if (stage, record.get("version")) not in STAGE_VERSIONS.items():
        return False
    return fetched or stage != "fetch"


def parse(text: bytes) -> dict[str, Any]:
    """A JSON object of a bounded size. Raises Untrusted."""
    if len(text) > MOST_BYTES:
        raise Untrusted(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        data = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise Untrusted("it is no JSON") from error
    if not isinstance(data, dict):
        raise Untrusted("it is no JSON object")
    return data


def _refused(name: str) -> NoReturn:
    raise ValueError(name)


def believed(data: dict[str, Any], key: str, *, fetched: bool) -> Trace:
    """The trace for that key. Raises Untrusted."""
    for name, kind in _FIELDS.items():
        if not isinstance(data.get(name), kind) or isinstance(data[name], bool):  # type: ignore[arg-type]
            raise Untrusted(f"its {name} is missing or of another kind")
    if data.keys() != _FIELDS.keys():
        raise Untrusted(
            f"it has fields that no trace has: {', '.join(sorted(data.keys() - _FIELDS.keys()))[:80]}"
        )
    if data["schema"] != SCHEMA:
        raise Untrusted(f"it has schema {data['schema']!r:.20}")
    if data["key"] != key or _key(data["fingerprint"]) != key:
        raise Untrusted("it belongs to another key")
    if not is_shared(data["fingerprint"], fetched=fetched):
        raise Untrusted("it is of a stage that is not shared, or of another version of it")
    if not 0 <= data["seconds"] < math.inf or len(data["address"]) > _LONGEST:
        raise Untrusted("its address or duration is none")
    for name, kind in _TOLD.get(data["fingerprint"]["stage"], {}).items():
        if not isinstance(data["summary"].get(name), kind):
            raise Untrusted(f"its summary's {name} is missing or of another kind")
    outputs = _outputs(data["outputs"])
    return Trace(key, data["address"], data["fingerprint"], outputs, data["summary"], float(data["seconds"]))


def _key(record: object) -> str:
    try:
        return key_of(record)
    except (ValueError, RecursionError) as error:
        raise Untrusted("its fingerprint is none") from error


def _outputs(found: dict[str, Any]) -> dict[str, Digest]:
    if not 0 < len(found) <= _MOST_OUTPUTS:
        raise Untrusted(f"it names {len(found)} artifacts")
    outputs = {}
    for name, text in found.items():
        if not is_plain_relative(name):
            raise Untrusted(f"it names an artifact {name[:60]!r}")
        try:
            outputs[name] = Digest.parse(text)
        except (ValueError, AttributeError) as error:
            raise Untrusted(f"its artifact {name[:60]!r} has no digest") from error
        if outputs[name].size > _LARGEST:
            raise Untrusted(f"its artifact {name[:60]!r} has no possible size")
    return outputs
