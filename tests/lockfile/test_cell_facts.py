"""The facts of a cell for the lockfile: which files, data and tools it was asked to be made of, and what came of it."""

from __future__ import annotations

import pytest

from trtpipe.digests import digest_bytes, key_of
from trtpipe.lockfile.cell_facts import (
    asked_facts,
    asked_fields,
    model_files,
    origin_facts,
    tactic_facts,
    typed_facts,
)
from trtpipe.plan.options import NO_TRANSFORM, UNPLACED, CacheOptions, CacheReading, ValidateOptions

A, B = digest_bytes(b"a"), digest_bytes(b"bb")
SHOWN_A, SHOWN_B = f"{A.hex} (1 bytes)", f"{B.hex} (2 bytes)"
CELL = {
    "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7"},
    "python": "cpython 3.12.1",
    "compute_capabilities": ["8.6", "8.9"],
}
TOLD = {
    "toolchain": "tensorrt_rtx 1.7",
    "python": "cpython 3.12.1",
    "compute_capabilities": "8.6 8.9",
}


def record(inputs=None, **options):
    """A step's fingerprint record, as far as facts are taken from it."""
    return {"options": options, "inputs": inputs or {}}


def of(records, **cell):
    """The facts beyond those that every cell has."""
    facts = asked_facts(records, {**CELL, **cell})
    return {name: fact for name, fact in facts.items() if TOLD.get(name) != fact}


def test_what_is_known_of_a_cell_before_any_of_its_steps():
    assert asked_facts({}, CELL) == TOLD


def test_an_interpreter_that_is_part_of_the_key_is_told_with_the_reason():
    found = of({}, toolchain={**CELL["toolchain"], "python": "cpython 3.12"})

    assert found == {
        "python": "cpython 3.12.1 (part of the key: not proved to build the same engine as others)"
    }


def test_files_are_told_by_name_from_every_slot_that_has_them():
    records = {
        "import": record({"source": {"net.onnx": str(A)}, "files": {"net.data": str(B)}}),
        "transform": record({"files": {"part.onnx": str(A)}, "beside": {"part.data": str(B)}}),
        "build_engine": record({"plugins": {"libops.so": str(B)}, "model": {"model.onnx": str(A)}}),
    }

    assert of(records) == {
        "source": {"net.onnx": SHOWN_A, "net.data": SHOWN_B},
        "graft": {"part.onnx": SHOWN_A, "part.data": SHOWN_B},
        "plugins": {"libops.so": SHOWN_B},
    }


def test_a_declared_model_without_files_is_known_by_its_declaration():
    imported = record(layers=[{"layer": "activation"}])
    declared = f"{key_of(imported['options'])} (declared)"

    assert model_files(imported) == {"declared": declared}
    assert of({"import": imported}) == {"source": {"declared": declared}}


def validation(kind, **inputs):
    options = ValidateOptions(
        data={},
        samples=8,
        corners=False,
        profiles=(),
        reference=kind,
        transform=NO_TRANSFORM,
        origins=UNPLACED,
    )
    return {"options": options.record(), "inputs": inputs}


@pytest.mark.parametrize(
    ("step", "facts"),
    [
        (validation("onnxruntime"), {}),
        (validation("onnxruntime", data={"a.npz": str(A)}), {"data": f"{A.hex} (1 file, 1 bytes)"}),
        (
            validation("golden", data={"a": str(A), "b": str(B)}, reference={"out.npz": str(B)}),
            {
                "data": f"{key_of({'a': str(A), 'b': str(B)})} (2 files, 3 bytes)",
                "golden": f"{B.hex} (1 file, 2 bytes)",
            },
        ),
        (validation("onnxruntime", reference={"model.onnx": str(B)}), {}),
    ],
    ids=["no data", "one file", "recorded outputs", "another reference"],
)
def test_what_a_validation_measures_on(step, facts):
    assert of({"validate": step}) == facts


def calibration(method=None, percentile=None, ranges=False, **inputs):
    given = {"method": method, "percentile": percentile, "ranges": ranges}
    backend = {"backend": "trtpipe", "backend_version": 1, "provider": "cpu"}
    return record(inputs, **backend, **given, data={}, samples=8)


CACHE = CacheOptions(cache=CacheReading("tensorrt", 0.5, {}), reader_version=1, origins=UNPLACED)


@pytest.mark.parametrize(
    ("step", "facts"),
    [
        (calibration("entropy"), {"calibration": "entropy by trtpipe"}),
        (calibration("percentile", 99.9), {"calibration": "percentile 99.9 by trtpipe"}),
        (calibration(ranges=True), {"calibration": "ranges by trtpipe"}),
        (calibration("max", None, True), {"calibration": "max ranges by trtpipe"}),
        (
            calibration("max", data={"a.png": str(A)}),
            {"calibration": "max by trtpipe", "calibration_data": f"{A.hex} (1 file, 1 bytes)"},
        ),
        (
            {"options": CACHE.record(), "inputs": {"cache": {"digits.cache": str(B)}}},
            {"calibration_cache": SHOWN_B},
        ),
    ],
    ids=["method", "percentile", "ranges", "both", "data", "cache"],
)
def test_how_scales_are_made(step, facts):
    assert of({"calibrate": step}) == facts


def test_each_fact_that_a_step_may_give_is_among_the_fields_that_are_compared():
    records = {
        "import": record({"source": {"net.onnx": str(A)}}),
        "validate": validation("golden", data={"a": str(A)}, reference={"o": str(B)}),
        "calibrate": calibration("max", data={"a": str(A)}),
        "transform": record({"files": {"p": str(A)}}),
        "build_engine": record({"plugins": {"l": str(B)}}),
    }
    for stage, step in records.items():
        alone = {stage: step}
        assert set(asked_facts(alone, CELL)) <= asked_fields(alone), stage

    assert asked_fields({}) == {"toolchain", "python", "compute_capabilities"}
    assert asked_fields({"build_engine": {}}) - asked_fields({}) == {"plugins", "key"}
    assert asked_fields(records) > set(asked_facts(records, CELL))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, {}),
        (
            {"fetched/net.onnx": {"url": "https://a.b/net.onnx", "sha256": "ab"}},
            {"origin": {"net.onnx": "https://a.b/net.onnx (sha256 ab)"}},
        ),
        (
            {"fetched/sub/net.onnx": {"url": "hf://o/r@main/net.onnx", "commit": "c0ffee", "sha256": "ab"}},
            {"origin": {"sub/net.onnx": "hf://o/r@main/net.onnx at c0ffee (sha256 ab)"}},
        ),
        (
            {"net.onnx": {"url": "hf://o/r@c0ffee/net.onnx", "commit": "c0ffee"}},
            {"origin": {"net.onnx": "hf://o/r@c0ffee/net.onnx (sha256 unknown)"}},
        ),
    ],
    ids=["none", "server", "branch", "commit"],
)
def test_where_fetched_files_came_from(files, told):
    assert origin_facts({"files": files}) == told


@pytest.mark.parametrize(
    ("summary", "facts"),
    [
        ({}, {}),
        ({"planned": {"float32": 1, "float16": 3}}, {"nodes": "float16 3, float32 1"}),
        (
            {"planned": {"float16": 3}, "wide": {"overflow": {"a": {}, "b": {}}}},
            {"nodes": "float16 3, 2 of them kept wide because of their values"},
        ),
    ],
)
def test_in_which_types_nodes_compute(summary, facts):
    assert typed_facts(summary) == facts


def test_tactics_are_told_as_text_where_there_are_any():
    assert tactic_facts({"tactics": {"k": 7}}) == {"tactics": {"k": "7"}}
    assert tactic_facts({}) == tactic_facts({"tactics": None}) == {}
