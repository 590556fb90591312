"""An engine's provenance: an in-toto Statement v1 whose predicate is SLSA Provenance v1.

Formats: https://github.com/in-toto/attestation, spec/v1/statement.md and resource_descriptor.md;
https://slsa.dev/spec/v1.0/ provenance. Both let consumers ignore unknown fields, so BLAKE3 is given beside SHA-256. No
time is written (SLSA requires none): the same engine has the same statement, whenever and from wherever it is
delivered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtpipe import __version__
from trtpipe.json_values import Json
from trtpipe.plan.address import Stage
from trtpipe.plan.graph import Cell
from trtpipe.plan.trace import Trace
from trtpipe.provenance.materials import Material

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "pkg:pypi/trtpipe#build_engine/v1"
"""The kind of build that `externalParameters` and `internalParameters` belong to; docs/provenance.md describes it."""
BUILDER = "pkg:pypi/trtpipe"

_ASKED: Mapping[Stage, str] = {
    "import": "import",
    "transform": "transform",
    "quantize": "precision",
    "build_engine": "engine",
}
"""The stages whose options are the spec's own words, and what they are called in the statement."""


def statement_of(
    cell: Cell, traces: Mapping[Stage, Trace], materials: Sequence[Material], sha256: Mapping[str, str]
) -> dict[str, Json]:
    """The statement as a JSON object; `sha256` gives the SHA-256 of files by their BLAKE3."""
    engine = traces["build_engine"]
    made = engine.outputs["model.engine"]
    return {
        "_type": STATEMENT,
        "subject": [{"name": "model.engine", "digest": _digests(made.hex, sha256)}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _asked(cell, traces),
                "internalParameters": {"key": engine.key, "steps": _steps(traces)},
                "resolvedDependencies": [
                    *(_dependency(one) for one in materials),
                    *_typed(traces, sha256),
                ],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"trtpipe": __version__}},
                "metadata": {"invocationId": engine.key},
                "byproducts": _byproducts(engine),
            },
        },
    }


def _digests(blake3: str, sha256: Mapping[str, str]) -> dict[str, str]:
    return {**({"sha256": sha256[blake3]} if blake3 in sha256 else {}), "blake3": blake3}


def _asked(cell: Cell, traces: Mapping[Stage, Trace]) -> dict[str, Json]:
    asked: dict[str, Json] = {
        "cell": cell.name,
        "gpu": list(cell.facts["gpu"]),
        "toolchain": dict(cell.facts["toolchain"]),
    }
    for stage, name in _ASKED.items():
        if stage in traces:
            asked[name] = traces[stage].fingerprint["options"]
    return asked


def _steps(traces: Mapping[Stage, Trace]) -> dict[str, Json]:
    """Each step's key, version and tools: together with the options above and the dependencies, the full key."""
    return {
        stage: {
            "key": trace.key,
            "version": trace.fingerprint["version"],
            "tools": trace.fingerprint["tools"],
        }
        for stage, trace in traces.items()
    }


def _dependency(one: Material) -> dict[str, Json]:
    facts = {"kind": one.kind, **one.facts, **({"bytes": one.nbytes} if one.nbytes is not None else {})}
    found: dict[str, Json] = {"name": one.name}
    found |= {"uri": one.url} if one.url else {}
    found |= {"digest": dict(one.digests)} if one.digests else {}
    return {**found, "annotations": facts}


def _typed(traces: Mapping[Stage, Trace], sha256: Mapping[str, str]) -> list[dict[str, Json]]:
    """The typed ONNX that TensorRT was given."""
    return [
        {
            "name": name,
            "digest": _digests(digest.hex, sha256),
            "annotations": {"kind": "typed model", "bytes": digest.size},
        }
        for name, digest in sorted(traces["quantize"].outputs.items())
    ]


def _byproducts(engine: Trace) -> list[dict[str, Json]]:
    """The engine's normalised digest: the same for two builds that differ in generated names only."""
    return [{"name": "model.engine, normalised", "digest": {"blake3": engine.summary["normalised"]}}]
