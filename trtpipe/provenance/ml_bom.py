"""The bill of materials of a cell's model, as a CycloneDX 1.6 ML-BOM.

Format: https://cyclonedx.org/schema/bom-1.6.schema.json, against which the tests validate it. It has no timestamp, and
the serial number is derived from the engine's digest, so that the same engine always has the same document.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence

from trtpipe import __version__
from trtpipe.json_values import Json, JsonObject, list_in, object_in, objects_in, text_in, texts_in
from trtpipe.plan.address import Stage
from trtpipe.plan.trace import Trace
from trtpipe.provenance.materials import Material

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_ALGORITHMS = {"sha256": "SHA-256", "blake3": "BLAKE3"}
_TYPES = {
    "model": "machine-learning-model",
    "weights": "machine-learning-model",
    "reference": "machine-learning-model",
    "calibration data": "data",
    "validation data": "data",
    "plugin": "library",
    "toolchain": "library",
}
_SPDX = {
    one.lower(): one
    for one in (
        "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "MPL-2.0", "ISC", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0",
        "CC-BY-NC-4.0", "GPL-2.0-only", "GPL-3.0-only", "LGPL-3.0-only", "AGPL-3.0-only", "AGPL-3.0-or-later",
        "GPL-3.0-or-later", "Unlicense",
    )
}  # fmt: skip
"""Identifiers of the SPDX list that models are published under; any other licence is given by its name."""


def bill_of(
    manifest: JsonObject,
    traces: Mapping[Stage, Trace],
    materials: Sequence[Material],
    sha256: Mapping[str, str],
) -> dict[str, Json]:
    """The document as a JSON object; its subject is the engine, `sha256` gives SHA-256 of files by their BLAKE3."""
    claims = traces["import"].summary.get("claims", {})
    blake3 = text_in(object_in(manifest, "engine"), "blake3")
    cell = text_in(manifest, "cell")
    used = [(f"{one.kind}-{number}", one) for number, one in enumerate(materials, 1)]
    typed = list(_typed(manifest, sha256))
    engine: dict[str, Json] = {
        "type": "machine-learning-model",
        "bom-ref": "engine",
        "name": cell,
        **_version(claims),
        **_publication(claims),
        "hashes": _hashes({"sha256": sha256.get(blake3, ""), "blake3": blake3}),
        "modelCard": _card(manifest, traces, claims, used),
    }
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_serial(blake3, cell)}",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "trtpipe", "version": __version__}]},
            "component": engine,
        },
        "components": [*typed, *(_component(ref, one, claims) for ref, one in used)],
        "dependencies": _dependencies([text_in(one, "bom-ref") for one in typed], used),
    }


def _serial(blake3: str, cell: str) -> uuid.UUID:
    """The same UUID for the same engine in the same cell (RFC 4122, version 5)."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"blake3:{blake3}:{cell}")


def _typed(manifest: JsonObject, sha256: Mapping[str, str]) -> Iterator[dict[str, Json]]:
    files = object_in(manifest, "model")
    for number, name in enumerate(files, 1):
        blake3 = text_in(object_in(files, name), "blake3")
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"typed-model-{number}",
            "name": name,
            "description": f"the typed ONNX model, precision {manifest['precision']}, that TensorRT was given",
            "hashes": _hashes({"sha256": sha256.get(blake3, ""), "blake3": blake3}),
        }


def _component(ref: str, one: Material, claims: Mapping[str, str]) -> dict[str, Json]:
    found: dict[str, Json] = {"type": _TYPES[one.kind], "bom-ref": _ref(ref), "name": one.name}
    if one.kind == "toolchain":
        found |= {"name": one.facts["package"], "version": one.facts["version"], "purl": one.url}
        found["supplier"] = {"name": "NVIDIA Corporation"}
    if one.kind == "model":
        found |= {**_version(claims), **_publication(claims)}
    found |= {"hashes": _hashes(one.digests)} if one.digests else {}
    if one.url and one.kind != "toolchain":
        found["externalReferences"] = [{"type": "distribution", "url": one.url}]
    if one.kind in ("calibration data", "validation data"):
        found["data"] = [{"type": "dataset", "name": one.name}]
    facts = {name: one.facts[name] for name in ("contents_sha256", "files") if name in one.facts}
    told = {"kind": one.kind, **facts}
    return {**found, "properties": _properties(told)}


def _version(claims: Mapping[str, str]) -> dict[str, str]:
    return {"version": claims["version"]} if "version" in claims else {}


def _publication(claims: Mapping[str, str]) -> dict[str, Json]:
    """What the model file claims about its origin."""
    found: dict[str, Json] = {}
    found |= {"publisher": claims["publisher"]} if "publisher" in claims else {}
    found |= {"authors": [{"name": claims["author"]}]} if "author" in claims else {}
    found |= {"description": claims["description"]} if "description" in claims else {}
    if "license" in claims:
        known = _SPDX.get(claims["license"].lower())
        found["licenses"] = [{"license": {"id": known} if known else {"name": claims["license"]}}]
    return found


def _card(
    manifest: JsonObject,
    traces: Mapping[Stage, Trace],
    claims: Mapping[str, str],
    used: Sequence[tuple[str, Material]],
) -> dict[str, Json]:
    datasets = [{"ref": _ref(ref)} for ref, one in used if one.kind.endswith(" data")]
    parameters: dict[str, Json] = {"task": claims["task"]} if "task" in claims else {}
    parameters |= {"datasets": datasets} if datasets else {}
    tensors = objects_in(manifest, "io")
    for mode in ("input", "output"):
        parameters[f"{mode}s"] = [{"format": _format(one)} for one in tensors if one["mode"] == mode]
    metrics = list(_metrics(object_in(manifest, "validation")))
    card: dict[str, Json] = {"modelParameters": parameters}
    card |= {"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}
    return {**card, "properties": _properties(_facts(manifest, traces, claims))}


def _format(tensor: JsonObject) -> str:
    """`image: float32 [batch, 1, 8, 8]`; -1 is a dynamic dimension without a name."""
    shape = list_in(tensor, "shape")
    names = [*list_in(tensor, "dimension_names"), *[None] * len(shape)]
    dims = ", ".join(str(name or dim) for dim, name in zip(shape, names, strict=False))
    return f"{tensor['name']}: {tensor['dtype']} [{dims}]"


def _metrics(validation: JsonObject) -> Iterator[dict[str, str]]:
    """Accuracy, then the worst value of each output's metrics, measured with the typed model."""
    if isinstance(validation.get("accuracy"), float):
        yield {"type": "accuracy", "value": repr(validation["accuracy"])}
    worst: dict[tuple[str, str], float] = {}
    for verdict in objects_in(validation, "verdicts") if "verdicts" in validation else ():
        value, at = verdict.get("value"), (str(verdict["metric"]), str(verdict["output"]))
        if isinstance(value, (int, float)) and at[0] != "accuracy":
            pick = max if verdict.get("min") is None else min
            worst[at] = pick(worst.get(at, value), value)
    for (metric, output), value in worst.items():
        yield {"type": metric, "value": repr(value), "slice": f"output {output}, the worst of all places"}


def _facts(manifest: JsonObject, traces: Mapping[Stage, Trace], claims: Mapping[str, str]) -> dict[str, Json]:
    imported = traces["import"].summary.get("summary", {})
    toolchain = object_in(manifest, "toolchain")
    facts: dict[str, Json] = {
        "precision": manifest["precision"],
        "parameters": sum(one["elements"] for one in imported.get("weights", ())),
        "opset": dict(map(tuple, imported.get("opsets", ()))).get(""),
        "producer": claims.get("producer"),
        "domain": claims.get("domain"),
        "url": claims.get("url"),
        "gpus": " ".join(texts_in(manifest, "compute_capabilities")),
        "tensorrt": f"{toolchain['flavour']} {toolchain['version']}",
        "validation": str(object_in(manifest, "validation")["outcome"]).replace("_", " "),
    }
    nodes = _nodes(object_in(manifest, "audit"))
    facts |= {f"nodes:{dtype}": count for dtype, count in sorted(nodes.items())}
    asked = traces["calibrate"].fingerprint["options"] if "calibrate" in traces else {}
    facts |= {
        f"calibration:{name}": asked[name] for name in ("method", "percentile", "samples") if asked.get(name)
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _nodes(audit: JsonObject) -> JsonObject:
    """How many nodes compute in each type, where the audit counted them."""
    typed = object_in(audit, "typed") if "typed" in audit else {}
    return object_in(typed, "nodes") if "nodes" in typed else {}


def _dependencies(typed: Sequence[str], used: Sequence[tuple[str, Material]]) -> list[dict[str, Json]]:
    """The engine depends on the typed model and TensorRT, the typed model on sources and calibration data."""
    built_by = [_ref(ref) for ref, one in used if one.kind in ("toolchain", "plugin")]
    made_of = [_ref(ref) for ref, one in used if one.kind in ("model", "weights", "calibration data")]
    needed = {"engine": [*typed, *built_by], **dict.fromkeys(typed, made_of)}
    return [{"ref": ref, "dependsOn": sorted(names)} for ref, names in needed.items()]


def _ref(text: str) -> str:
    return text.replace(" ", "-")


def _hashes(digests: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"alg": alg, "content": digests[name]} for name, alg in _ALGORITHMS.items() if digests.get(name)]


def _properties(facts: JsonObject) -> list[dict[str, str]]:
    return [{"name": f"trtpipe:{name}", "value": str(value)} for name, value in facts.items()]
