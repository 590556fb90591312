"""What the sweep over quantized layers came to; a sample of it is made and built anew."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.conformance import sweep_quantized
from tests.conformance.quantized_specimens import layers, sources
from tests.conformance.sweep_quantized import OUT, Tried, said, specimens, table
from tests.conformance.test_score import answers
from trtpipe.targets.operator_types import tried_versions

NEWEST = tried_versions()[-1]
LAYERS = ("Conv 2-D", "MatMul of 2 dimensions")


def row(precision="int8", base="fp16", layer="Conv 2-D"):
    return ["layers", precision, base, layer, "digest", ""]


def found(builder, check, gpu="sm75", version="1.5.0.114", **of):
    return {"row": row(**of), "version": version, "gpu": gpu, "builder": builder, "check": check}


def test_check_says_what_every_version_does():
    record = json.loads(OUT.read_text(encoding="utf-8"))

    assert record["tried"].keys() == set(tried_versions())
    assert record["check_says_otherwise"] == []
    assert all(one["answers"] >= 800 for one in record["tried"].values())
    assert record["not_tried"] and record["refused"]


def test_refusals_that_are_alike_share_a_row():
    gone = "builder: Cannot compile operation 'n0' for SM"
    made = table(
        [
            found(gone, ["no"]),
            found(gone, ["no"], layer="Conv 1-D"),
            found("builder: no", ["no"], base="bf16"),
        ],
        {},
    )

    assert made["check_says_otherwise"] == []
    assert [one["of"] for one in made["refused"]] == [["int8: Conv 1-D"], ["int8: Conv 2-D"]]
    assert made["refused"][0]["says"] == {
        "1.5.0.114: builder: Cannot compile operation '…' for SM": {"fp16": ["sm75"]}
    }


def test_what_check_says_otherwise_is_named():
    made = table([found("", ["TP630 no"]), found("builder: no", [], gpu="sm89")], {})

    assert made["check_says_otherwise"] == [
        "1.5.0.114 sm75 layers int8 fp16 Conv 2-D: TP630 no",
        "1.5.0.114 sm89 layers int8 fp16 Conv 2-D: builder: no",
    ]


def test_every_specimen_is_a_model_and_no_name_comes_twice():
    names = [one.name for one in (*layers(), *sources())]

    assert len(names) > 150
    assert len(set(names)) == len(names)


@pytest.mark.engine
@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="no tensorrt_rtx wheel here")
def test_a_sample_builds_as_check_says(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_quantized, "layers", lambda: (one for one in layers() if one.name in LAYERS))
    monkeypatch.setattr(sweep_quantized, "sources", lambda: iter(()))
    rows = [
        one for one in specimens(tmp_path) if one.base == "fp32" and one.precision in ("int8", "fp8", "nvfp4")
    ]
    asked = [(Tried(*one).model, gpu) for one in rows for gpu in ("sm75", "sm89")]

    made = answers("build_phases", tmp_path / "models", [f"{digest}@{gpu}" for digest, gpu in asked])

    assert len(asked) == 10
    for (digest, gpu), result in zip(asked, made, strict=True):
        assert (result["stage"] == "built") == (not said(tmp_path, digest, NEWEST, gpu)), (
            digest,
            gpu,
            result,
        )
