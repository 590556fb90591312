"""Provenance and bills of materials of cells that were never built: what they name, and what they do not tell."""

from __future__ import annotations

import json

import onnx
import pytest

from tests.provenance.formats import assert_valid_bill, assert_valid_statement
from trtpipe.canonical.claims import claims_of
from trtpipe.digests import Digest, digest_bytes
from trtpipe.plan.graph import Cell
from trtpipe.plan.trace import Trace
from trtpipe.provenance.materials import MOST_FILES, address, materials_of
from trtpipe.provenance.ml_bom import bill_of
from trtpipe.provenance.statement import statement_of


def digest_of(text: str) -> Digest:
    return digest_bytes(text.encode())


ENGINE, TYPED, SOURCE = digest_of("engine"), digest_of("typed"), digest_of("source")
SHA256 = {ENGINE.hex: "e" * 64, TYPED.hex: "7" * 64}
WHEELS = [
    {"name": "tensorrt_rtx_cu13", "version": "1.6.1.120", "contents": "c" * 64},
    {
        "name": "tensorrt_rtx_cu13_libs",
        "version": "1.6.1.120",
        "contents": "d" * 64,
        "file": "tensorrt_rtx_cu13_libs-1.6.1.120-py3-none-any.whl",
        "sha256": "a" * 64,
    },
]
CELL = Cell(
    "net/int8@ada",
    "net",
    "int8",
    "ada",
    {},
    {"gpu": ["rtx4090"], "toolchain": {"flavour": "tensorrt_rtx", "version": "1.6.1.120"}},
)


def trace(stage, outputs, *, inputs=None, summary=None, options=None):
    fingerprint = {"version": 1, "options": options or {}, "tools": {}, "inputs": inputs or {}}
    return Trace("9" * 64, f"net:{stage}", fingerprint, outputs, summary or {})


def traces_with(**changes):
    """The traces of a calibrated cell; `changes` replaces some."""
    imported = {"weights": [{"dtype": "float32", "elements": 12, "nbytes": 48}], "opsets": [["", 17]]}
    found = {
        "import": trace(
            "import",
            {"model.onnx": digest_of("canonical")},
            inputs={"source": {"model.onnx": str(SOURCE)}},
            summary={
                "summary": imported,
                "claims": {"license": "apache-2.0", "author": "A Lab", "version": "3"},
            },
        ),
        "calibrate": trace(
            "calibrate",
            {"scales.json": digest_of("scales")},
            inputs={"data": {"calibration/a.npz": str(digest_of("a"))}},
            options={"method": "entropy", "samples": 100},
        ),
        "quantize": trace("quantize", {"model.onnx": TYPED}),
        "build_engine": trace(
            "build_engine", {"model.engine": ENGINE}, summary={"normalised": "b" * 64, "wheels": WHEELS}
        ),
        "validate": trace(
            "validate",
            {"validation.json": digest_of("v")},
            inputs={
                "data": {"calibration/v.npz": str(digest_of("v"))},
                "reference": {"model.onnx": str(digest_of("canonical"))},
            },
        ),
    }
    return {**found, **changes}


MANIFEST = {
    "cell": "net/int8@ada",
    "engine": {"blake3": ENGINE.hex},
    "model": {"model.onnx": {"blake3": TYPED.hex, "bytes": TYPED.size}},
    "precision": "int8",
    "compute_capabilities": ["sm89"],
    "toolchain": {"flavour": "tensorrt_rtx", "version": "1.6.1.120"},
    "io": [
        {"name": "x", "mode": "input", "dtype": "float32", "shape": [-1, 3], "dimension_names": ["n", None]},
        {"name": "y", "mode": "output", "dtype": "float32", "shape": [-1], "dimension_names": []},
    ],
    "audit": {"typed": {"nodes": {"int8": 4, "float16": 2}}},
    "validation": {
        "outcome": "passed",
        "accuracy": 0.75,
        "verdicts": [
            {"output": "y", "metric": "cosine", "value": 0.99, "min": 0.9, "max": None},
            {"output": "y", "metric": "cosine", "value": 0.95, "min": 0.9, "max": None},
            {"output": "y", "metric": "max_abs", "value": 0.5, "min": None, "max": 1.0},
            {"output": "y", "metric": "max_abs", "value": 0.1, "min": None, "max": 1.0},
        ],
    },
}


def statement(traces):
    return statement_of(CELL, traces, materials_of(traces, SHA256), SHA256)


def bill(traces):
    return bill_of(MANIFEST, traces, materials_of(traces, SHA256), SHA256)


def dependencies(document):
    listed = document["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {(one["annotations"]["kind"], one["name"]): one for one in listed}


def properties(component):
    return {one["name"].removeprefix("trtpipe:"): one["value"] for one in component["properties"]}


def test_a_statement_is_one_of_in_toto_and_slsa():
    made = statement(traces_with())

    assert_valid_statement(made)
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["predicateType"] == "https://slsa.dev/provenance/v1"


def test_a_bill_is_one_of_cyclonedx():
    made = bill(traces_with())

    assert_valid_bill(made)
    assert made["bomFormat"] == "CycloneDX"


def test_the_subject_is_the_engine_by_both_digests():
    subject = statement(traces_with())["subject"]

    assert subject == [{"name": "model.engine", "digest": {"sha256": "e" * 64, "blake3": ENGINE.hex}}]


def test_all_that_went_in_is_named_and_what_was_made_on_the_way_is_not():
    found = dependencies(statement(traces_with()))

    assert list(found) == [
        ("model", "model.onnx"),
        ("calibration data", "calibration/a.npz"),
        ("validation data", "calibration/v.npz"),
        ("toolchain", "tensorrt-rtx-cu13 1.6.1.120"),
        ("toolchain", "tensorrt_rtx_cu13_libs-1.6.1.120-py3-none-any.whl"),
        ("typed model", "model.onnx"),
    ]
    assert found["model", "model.onnx"]["digest"] == {"blake3": SOURCE.hex}
    assert found["typed model", "model.onnx"]["digest"] == {"sha256": "7" * 64, "blake3": TYPED.hex}


def test_a_wheel_is_named_by_its_hash_and_one_of_unknown_hash_by_its_contents():
    found = dependencies(statement(traces_with()))
    whole = found["toolchain", "tensorrt_rtx_cu13_libs-1.6.1.120-py3-none-any.whl"]
    unknown = found["toolchain", "tensorrt-rtx-cu13 1.6.1.120"]

    assert whole["uri"] == "pkg:pypi/tensorrt-rtx-cu13-libs@1.6.1.120"
    assert whole["digest"] == {"sha256": "a" * 64}
    assert "digest" not in unknown
    assert unknown["annotations"]["contents_sha256"] == "c" * 64


def test_traces_of_an_older_trtpipe_without_wheels_and_claims_have_statements_too():
    bare = trace("build_engine", {"model.engine": ENGINE}, summary={"normalised": "b" * 64})
    imported = trace("import", {}, inputs={"source": {"model.onnx": str(SOURCE)}})
    traces = traces_with(build_engine=bare, **{"import": imported})

    assert_valid_statement(statement(traces))
    assert_valid_bill(bill(traces))
    assert ("toolchain", "tensorrt_rtx_cu13_libs-1.6.1.120-py3-none-any.whl") not in dependencies(
        statement(traces)
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@example.com/a/net.onnx?token=secret", "https://example.com/a/net.onnx"),
        ("s3://bucket/key?X-Amz-Signature=secret", "s3://bucket/key"),
        ("https://example.com/a@1/net.onnx", "https://example.com/a@1/net.onnx"),
        ("", ""),
    ],
)
def test_an_address_is_told_without_user_and_query(url, shown):
    assert address(url) == shown


def test_a_fetched_source_is_told_with_its_address_and_pin():
    origin = {"source/model.onnx": {"url": "https://u:p@example.com/m.onnx?sig=x", "sha256": "f" * 64}}
    fetch = trace("fetch", {"source/model.onnx": SOURCE}, summary={"files": origin})
    traces = traces_with(fetch=fetch)
    found = dependencies(statement(traces))["model", "model.onnx"]

    assert found["uri"] == "https://example.com/m.onnx"
    assert found["digest"] == {"sha256": "f" * 64, "blake3": SOURCE.hex}
    assert_valid_statement(statement(traces))
    assert_valid_bill(bill(traces))
    assert "sig=x" not in json.dumps([statement(traces), bill(traces)])


@pytest.mark.parametrize("name", ["/home/someone/data/a.npz", "~/data/a.npz", "C:\\Users\\someone\\a.npz"])
def test_a_file_outside_the_project_is_told_by_its_last_name(name):
    calibrate = trace("calibrate", {}, inputs={"data": {name: str(digest_of("a"))}})

    assert ("calibration data", "a.npz") in dependencies(statement(traces_with(calibrate=calibrate)))


def test_of_a_great_many_samples_the_list_has_one_digest():
    def with_samples(count):
        files = {f"photos/{number}.png": str(digest_of(str(number))) for number in range(count)}
        return traces_with(calibrate=trace("calibrate", {}, inputs={"data": files}))

    few = dependencies(statement(with_samples(MOST_FILES)))
    many = dependencies(statement(with_samples(MOST_FILES + 1)))
    more = dependencies(statement(with_samples(MOST_FILES + 2)))

    assert ("calibration data", "photos/0.png") in few
    (told,) = [one for (kind, _), one in many.items() if kind == "calibration data"]
    (other,) = [one for (kind, _), one in more.items() if kind == "calibration data"]
    assert told["annotations"]["files"] == MOST_FILES + 1
    assert told["digest"] != other["digest"]
    assert_valid_statement(statement(with_samples(MOST_FILES + 1)))
    assert_valid_bill(bill(with_samples(MOST_FILES + 1)))


def test_a_file_that_is_used_twice_is_named_once():
    data = {"calibration/a.npz": str(digest_of("a"))}
    validate = trace("validate", {}, inputs={"data": data, "reference": {}})

    kinds = [kind for kind, _ in dependencies(statement(traces_with(validate=validate)))]

    assert "validation data" not in kinds


def test_the_model_card_tells_formats_metrics_and_precision():
    engine = bill(traces_with())["metadata"]["component"]
    card = engine["modelCard"]

    assert card["modelParameters"]["inputs"] == [{"format": "x: float32 [n, 3]"}]
    assert card["modelParameters"]["outputs"] == [{"format": "y: float32 [-1]"}]
    assert card["modelParameters"]["datasets"] == [
        {"ref": "calibration-data-2"},
        {"ref": "validation-data-3"},
    ]
    metrics = {one["type"]: one["value"] for one in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert metrics == {"accuracy": "0.75", "cosine": "0.95", "max_abs": "0.5"}
    facts = properties(card)
    assert (facts["precision"], facts["parameters"], facts["opset"]) == ("int8", "12", "17")
    assert (facts["nodes:int8"], facts["calibration:method"]) == ("4", "entropy")


def test_licence_and_author_are_those_that_the_model_claims():
    source = next(one for one in bill(traces_with())["components"] if one["bom-ref"] == "model-1")

    assert source["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert source["authors"] == [{"name": "A Lab"}]


def test_a_licence_that_is_not_on_the_list_is_given_by_name():
    claims = {"claims": {"license": "Ours, see the contract"}}
    imported = trace("import", {}, inputs={"source": {"model.onnx": str(SOURCE)}}, summary=claims)
    document = bill(traces_with(**{"import": imported}))

    assert document["metadata"]["component"]["licenses"] == [{"license": {"name": "Ours, see the contract"}}]
    assert_valid_bill(document)


def test_the_serial_number_follows_the_engine():
    one, same = bill(traces_with()), bill(traces_with())
    other = bill_of({**MANIFEST, "engine": {"blake3": TYPED.hex}}, traces_with(), [], SHA256)

    assert one == same
    assert one["serialNumber"] != other["serialNumber"]


def model_with(**metadata):
    graph = onnx.helper.make_graph([], "g", [], [])
    model = onnx.helper.make_model(graph, producer_name="maker", producer_version="1.2")
    onnx.helper.set_model_props(model, metadata)
    return model


def test_claims_are_the_well_known_keys_alone():
    model = model_with(license="MIT", Author="A Lab", names="{0: 'cat'}", task="detect", secret="x")

    assert claims_of(model) == {
        "author": "A Lab",
        "license": "MIT",
        "producer": "maker 1.2",
        "task": "detect",
    }


@pytest.mark.parametrize(
    "said",
    ["made in /home/someone/net", "~/net.pt", "C:\\Users\\someone", "file:///srv/net", "args: ('/data/x')"],
)
def test_a_claim_that_holds_a_path_of_some_machine_is_left_out(said):
    assert "description" not in claims_of(model_with(description=said))


@pytest.mark.parametrize("said", ["https://example.com/docs/net", "and/or", "1/2 scale", "a: b"])
def test_what_only_looks_like_a_path_stays(said):
    assert claims_of(model_with(description=said))["description"] == said


def test_a_claim_is_one_line_of_limited_length():
    found = claims_of(model_with(description="a\n\x1b[31m" + "b" * 10_000_000))["description"]

    assert found.startswith("a [31mbbb")
    assert len(found) <= 500
