"""A half variant with a calibration set: what overflows on the data is kept wide, or refused with what keeps it."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.projects import ROOT

FAR = """\
schema: 1
npz: calibration/digits/calib.npz
inputs: {image: {array: image, scale: 30000.0}}
labels: label
"""
"""Digits that are so bright that layers leave half precision's range."""


@pytest.fixture
def bright(project):
    shutil.copytree(ROOT / "calibration", project.root / "calibration")
    (project.root / "calibration/bright.yaml").write_text(FAR)
    project.edit("pipelines/digits.yaml", "  ampere: {gpu: sm86}\n", "")
    return project


def asking(project, variant):
    project.edit("pipelines/digits.yaml", "{precision: fp16}", variant)
    return project


def test_nodes_that_overflow_on_the_data_are_kept_in_float32_and_told(bright):
    project = asking(bright, "{precision: fp16, calibration: bright, min_low_precision: 0}")

    done = project.run("build", "--json", "--only", "digits/fp16@ada")

    assert done.code == 0, done.err
    assert [one for one in done.ran if "calibrate" in one] == ["digits/bright+ranges:calibrate"]
    delivered = next(one for one in done.events if one["event"] == "delivered")
    assert delivered["about"].endswith(
        f", {len(delivered['typed']['overflow'])} nodes kept in float32 because of their values"
    )
    manifest = project.manifest("fp16@ada")
    overflow = manifest["typed"]["wide"]["overflow"]
    assert overflow
    assert all(one["reaches"] > 65504 / 2 for one in overflow.values())
    summary = (project.root / "build/digits/fp16@ada/summary.md").read_text()
    assert all(f"- kept in float32: `{name}`" in summary for name in overflow)
    assert project.run("build", "--only", "digits/fp16@ada").out == "nothing to do\n"


@pytest.mark.slow
def test_data_within_the_range_change_nothing(bright):
    project = asking(bright, "{precision: fp16, calibration: digits-calib}")
    with_ranges = project.run("build", "--only", "digits/fp16@ada")
    model = project.manifest("fp16@ada")["model"]

    project.edit("pipelines/digits.yaml", ", calibration: digits-calib", "")
    without = project.run("build", "--only", "digits/fp16@ada")

    assert (with_ranges.code, without.code) == (0, 0)
    assert project.manifest("fp16@ada")["model"] == model


def test_a_refused_overflow_names_node_tensor_and_range_and_the_keep_that_cures_it(bright):
    project = asking(bright, "{precision: fp16, calibration: bright, overflow: refuse, min_low_precision: 0}")

    refused = project.run("build", "--only", "digits/fp16@ada")

    assert refused.code != 0
    assert re.search(
        r"pipelines/digits\.yaml:\d+:\d+: \d+ nodes overflow float16, which ends at 65504", refused.err
    )
    assert re.search(r"'[^']+' reaches [\d.e+]+ on the calibration set", refused.err)
    keep = re.search(r"keep: \{fp32: \[.*\]\}", refused.err)
    project.edit("pipelines/digits.yaml", "overflow: refuse", f"overflow: refuse, {keep[0]}")
    assert project.run("build", "--only", "digits/fp16@ada").code == 0


@pytest.mark.slow
def test_a_quantized_variant_looks_at_every_tensor_when_it_is_asked_to(bright):
    project = asking(
        bright, "{precision: int8, calibration: bright, overflow: keep, method: max, min_low_precision: 0}"
    )

    done = project.run("build", "--json", "--only", "digits/fp16@ada")

    assert done.code == 0, done.err
    assert [one for one in done.ran if "calibrate" in one] == ["digits/bright+max+ranges:calibrate"]
    assert project.manifest("fp16@ada")["typed"]["wide"]["overflow"]


@pytest.mark.parametrize(
    ("variant", "fact"),
    [
        (
            "{precision: fp16, overflow: keep}",
            "overflowing tensors can be found only with calibration data",
        ),
        ("{precision: bf16, calibration: bright}", "precision 'bf16' does not use calibration"),
        (
            "{precision: int8, base: bf16, calibration: bright, overflow: refuse}",
            "'overflow' applies only to variants that compute in float16",
        ),
    ],
    ids=["no data", "no range", "no half"],
)
def test_what_cannot_overflow_is_told_at_its_place(bright, variant, fact):
    done = asking(bright, variant).run("check")

    assert done.code == 2
    assert fact in done.err
    assert "pipelines/digits.yaml:" in done.err
