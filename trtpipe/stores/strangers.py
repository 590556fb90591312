"""Checks traces that somebody else wrote: they are accepted only if everything that can be checked is right.

Somebody else is whoever wrote to a remote, to a shared directory, or to a former store on this machine; the checks are
the same for all of them. A trace is valid for one key only. The key is the digest of the fingerprint, which must be the
requested one, so a trace cannot be passed off as another step's. Whether the outcome in it is true cannot be checked; a
signature at least tells who claims it.
"""

from __future__ import annotations

from collections.abc import Mapping

from trtpipe.digests import Digest, key_of
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    integer_in,
    number_in,
    object_in,
    read_object,
    text_in,
)
from trtpipe.plan.address import STAGE_VERSIONS
from trtpipe.plan.trace import SCHEMA, Trace
from trtpipe.spec.remote import is_plain_relative
from trtpipe.stores.summaries import misfit

MOST_BYTES = 32 << 20
_MOST_OUTPUTS = 10_000
_LARGEST = 1 << 44
_LONGEST = 1000
_NO_STEPS = (None, "reduce")
"""Stages of traces that no step of a plan has: what an address came to has none."""
_NOTED = {"fetched"}
_FIELDS = frozenset(("schema", "key", "address", "outputs", "seconds", "fingerprint", "summary"))

_YIELDED: Mapping[str, tuple[str, ...]] = {
    "quantize": ("model.onnx",),
    "build_engine": ("model.engine", "network.json"),
}
"""The outputs that a stage must have, because deliveries use them without checking."""


class Untrusted(Exception):
    """A trace that must not be used, and why."""


def is_shared(record: JsonObject, *, fetched: bool) -> bool:
    """Whether traces with such a fingerprint are exchanged between stores.

    Traces of remote files are only accepted when signed (`fetched`), because they decide what an address or a pin
    stands for.
    """
    stage = record.get("stage")
    return stage not in _NO_STEPS and _is_of_today(record) and (fetched or stage != "fetch")


def parse(text: bytes) -> dict[str, Json]:
    """A JSON object of limited size. Raises Untrusted."""
    if len(text) > MOST_BYTES:
        raise Untrusted(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        return read_object(text)
    except Malformed as error:
        raise Untrusted("it is not JSON object") from error


def believed(data: JsonObject, key: str, *, fetched: bool) -> Trace:
    """The trace for that key, if it is of an exchanged kind. Raises Untrusted."""
    trace = checked(data, key)
    if not is_shared(trace.fingerprint, fetched=fetched):
        raise Untrusted("it is of a stage that is not shared, or of another version of it")
    if not trace.outputs:
        raise Untrusted("it names 0 artifacts")
    return trace


def checked(data: JsonObject, key: str) -> Trace:
    """The trace for that key, of any kind. Raises Untrusted."""
    try:
        return _checked(data, key)
    except Malformed as error:
        raise Untrusted(f"its {error}") from error


def _checked(data: JsonObject, key: str) -> Trace:
    """The trace. Raises Untrusted or Malformed."""
    address, seconds = text_in(data, "address"), float(number_in(data, "seconds"))
    outputs, fingerprint = object_in(data, "outputs"), object_in(data, "fingerprint")
    summary = object_in(data, "summary")
    if data.keys() != _FIELDS:
        raise Untrusted(f"it has fields that no trace has: {', '.join(sorted(data.keys() - _FIELDS))[:80]}")
    if integer_in(data, "schema") != SCHEMA:
        raise Untrusted(f"it has schema {data['schema']!r:.20}")
    if text_in(data, "key") != key or _key(fingerprint) != key:
        raise Untrusted("it belongs to another key")
    if seconds < 0 or len(address) > _LONGEST:
        raise Untrusted("its address or duration is invalid")
    trace = Trace(key, address, fingerprint, _outputs(outputs), summary, seconds)
    _refuse_misfits(trace)
    return trace


def _refuse_misfits(trace: Trace) -> None:
    """Checks the fields that readers rely on; traces of other stage versions are read for their fingerprint only."""
    stage = trace.fingerprint.get("stage", "")
    if not isinstance(stage, str) or not _is_of_today(trace.fingerprint):
        return
    if at := misfit(stage, trace.summary):
        raise Untrusted(f"its summary's {at} is missing or of another kind")
    if lacking := [name for name in _YIELDED.get(stage, ()) if name not in trace.outputs]:
        raise Untrusted(f"it yielded no {lacking[0]}")


def _is_of_today(record: JsonObject) -> bool:
    """Whether this version of trtpipe makes such traces: of steps, remote files or reductions."""
    stage = record.get("stage")
    if stage in _NO_STEPS:
        return record.keys() == _NOTED if stage is None else record.get("version") == 1
    version = next((known for name, known in STAGE_VERSIONS.items() if name == stage), None)
    return version is not None and record.get("version") == version


def _key(record: JsonObject) -> str:
    try:
        return key_of(record)
    except (ValueError, RecursionError) as error:
        raise Untrusted("its fingerprint is invalid") from error


def _outputs(found: JsonObject) -> dict[str, Digest]:
    if len(found) > _MOST_OUTPUTS:
        raise Untrusted(f"it names {len(found)} artifacts")
    outputs = {}
    for name in found:
        if not is_plain_relative(name):
            raise Untrusted(f"it names an artifact {name[:60]!r}")
        try:
            outputs[name] = Digest.parse(text_in(found, name))
        except ValueError as error:
            raise Untrusted(f"its artifact {name[:60]!r} has no digest") from error
        if outputs[name].size > _LARGEST:
            raise Untrusted(f"its artifact {name[:60]!r} has no possible size")
    return outputs
