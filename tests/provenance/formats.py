"""The published formats that statements are held against."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

_URI = re.compile(r"[a-z][a-z0-9+.-]*:\S+")
_HEX = re.compile(r"[0-9a-f]+")
_LENGTHS = {"sha256": 64, "blake3": 64}


def assert_valid_bill(document: dict[str, Any]) -> None:
    """Raise jsonschema's error where a document is no CycloneDX 1.6; skip where the schema is not installed."""
    import jsonschema
    import referencing

    spec = importlib.util.find_spec("cyclonedx")
    if spec is None or spec.origin is None:
        pytest.skip("not run: needs the schemas of cyclonedx-python-lib")
    folder = Path(spec.origin).parent / "schema" / "_res"
    names = ("bom-1.6", "spdx", "jsf-0.82")
    schemas = {name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_bytes()) for name in names}
    resources = [
        (f"http://cyclonedx.org/schema/{name}{end}", referencing.Resource.from_contents(one))
        for name, one in schemas.items()
        for end in (".SNAPSHOT.schema.json", ".schema.json")
    ]
    registry = referencing.Registry().with_resources(resources)
    jsonschema.Draft7Validator(
        schemas["bom-1.6"], registry=registry, format_checker=jsonschema.FormatChecker()
    ).validate(document)
    refs = [one["bom-ref"] for one in (document["metadata"]["component"], *document["components"])]
    assert len(refs) == len(set(refs))
    told = {one["ref"] for one in document["dependencies"]}
    assert told | {ref for one in document["dependencies"] for ref in one["dependsOn"]} <= set(refs)


def assert_valid_statement(document: dict[str, Any]) -> None:
    """Hold a document against in-toto's Statement v1 and SLSA's Provenance v1: fields that must be, and their forms."""
    assert document.keys() == {"_type", "subject", "predicateType", "predicate"}
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    assert document["subject"]
    for subject in document["subject"]:
        assert subject["digest"], "a subject needs a digest"
        _assert_valid_resource(subject)
    predicate = document["predicate"]
    assert predicate.keys() == {"buildDefinition", "runDetails"}
    definition, run = predicate["buildDefinition"], predicate["runDetails"]
    assert definition.keys() <= {
        "buildType", "externalParameters", "internalParameters", "resolvedDependencies",
    }  # fmt: skip
    assert _URI.fullmatch(definition["buildType"])
    assert isinstance(definition["externalParameters"], dict)
    for one in definition["resolvedDependencies"]:
        _assert_valid_resource(one)
    assert run.keys() <= {"builder", "metadata", "byproducts"}
    assert run["builder"].keys() <= {"id", "version", "builderDependencies"}
    assert _URI.fullmatch(run["builder"]["id"])
    assert all(isinstance(one, str) for one in run["builder"]["version"].values())
    assert run["metadata"].keys() <= {"invocationId", "startedOn", "finishedOn"}
    for one in run["byproducts"]:
        _assert_valid_resource(one)


def _assert_valid_resource(one: dict[str, Any]) -> None:
    """ResourceDescriptor: one of uri, digest and content must be; digests are lower-case hex."""
    known = {"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"}
    assert one.keys() <= known
    assert one.keys() & {"uri", "digest", "content"}, one
    assert all(_URI.fullmatch(one[name]) for name in ("uri", "downloadLocation") if name in one)
    for algorithm, value in one.get("digest", {}).items():
        assert _HEX.fullmatch(value) and len(value) == _LENGTHS[algorithm]
