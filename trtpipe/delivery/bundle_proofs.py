"""A bundle's proofs from GPUs: `proof-TARGET.json` in its directory, written by `trtpipe validate`.

Every build reads them. Like an engine's proof each holds measurements, to which the reader applies the current
thresholds, and counts only for the engines with the digests in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from trtpipe.delivery.engine_proofs import EngineVerdict, judged_on_gpu
from trtpipe.errors import Problem
from trtpipe.files import read_regular, write_whole
from trtpipe.json_values import Json, JsonObject, Malformed, object_in, read_object
from trtpipe.provenance.manifest import Proof

SCHEMA = 1
_LARGEST = 64 << 20


def proof_path(folder: Path, target: str) -> Path:
    """Where the proof for a target is, in a bundle's directory."""
    return folder / f"proof-{target}.json"


def read_bundle_proof(folder: Path, target: str, engines: Mapping[str, str]) -> JsonObject | None:
    """The proof for a target, if it is of these engines: member → BLAKE3 in hex."""
    try:
        record = read_object(read_regular(proof_path(folder, target), _LARGEST))
        judged_on_gpu(record, {})  # a missing field raises here as well
        of = object_in(record, "engines")
    except (OSError, Malformed):
        return None
    return record if record.get("schema") == SCHEMA and dict(of) == dict(engines) else None


def write_bundle_proof(
    folder: Path, target: str, report: Mapping[str, Json], engines: Mapping[str, str]
) -> Path:
    """Write a proof; its path. Raises OSError."""
    record = {**report, "schema": SCHEMA, "engines": dict(engines)}
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(proof_path(folder, target), (text + "\n").encode())
    return proof_path(folder, target)


def judged_whole(record: JsonObject, validation: JsonObject, samples: int | None) -> EngineVerdict:
    """The verdict on engines as a whole, by the thresholds in the validation of the typed models.

    `samples` is the number of samples that these thresholds are about. Raises ValueError (Malformed is one).
    """
    found = judged_on_gpu(record, {**validation, "recorded": {"of": samples}})
    return replace(found, problems=tuple(_of_the_whole(problem) for problem in found.problems))


def _of_the_whole(problem: Problem) -> Problem:
    return replace(problem, fact=f"the engines as a whole, {problem.fact}")


def gpu_line(verdict: EngineVerdict | None) -> str:
    """The GPU that engines were proved on, as the lockfile says it; or `not run`."""
    return Proof({}, {}, (), verdict.record if verdict is not None else {}).machine_words()
