"""A UFF file from `init` to a validated engine, and what is said of one with custom operations."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.uff_writer import mark, node, placeholder, uff

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fresh(new_project, tmp_path):
    project = new_project(tmp_path / "project")
    (project.root / "models").mkdir()
    return project


@pytest.mark.slow
def test_init_writes_a_spec_that_builds(fresh):
    shutil.copy(ROOT / "pipelines" / "models" / "digits.uff", fresh.root / "models")

    told = fresh.run("init", "models/digits.uff")
    done = fresh.run("build", "digits/fp32@sm89")

    assert told.code == 0, told.err
    assert "parser: uff" in (fresh.root / "pipelines" / "digits.yaml").read_text()
    assert done.code == 0, done.err
    assert done.out.startswith("built 1 engine in ")


def test_the_example_keeps_the_accuracy_of_the_net_that_it_was_made_of(fresh):
    for name in ("pipelines/digits_uff.yaml", "pipelines/models/digits.uff", "calibration/digits-val.yaml",
                 "calibration/digits/val.npz"):  # fmt: skip
        (fresh.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, fresh.root / name)

    done = fresh.run("build", "digits-uff/fp32@ada")

    assert done.code == 0, done.err
    assert "accuracy 0.988" in done.err


def test_a_custom_operation_is_refused_where_it_would_be_mapped(fresh):
    nodes = [*mark("y"), node("_NMS_TRT", "y", "a"), node("_Anchors", "a", "x"), placeholder("x", [-1, 3])]
    (fresh.root / "models" / "net.uff").write_bytes(uff(nodes))
    fresh.write(
        "pipelines/net.yaml",
        "schema: 1\npipeline: net\nmodel:\n  source: models/net.uff\n  parser: uff\n  options:\n"
        "    plugins: {_NMS_TRT: {name: NMS_TRT}}\nprofiles:\n  - x: {min: 1x3, opt: 1x3, max: 2x3}\n"
        "targets:\n  ada: {gpu: sm89}\n",
    )

    told = fresh.run("check")

    assert told.code == 2
    assert "pipelines/net.yaml:7:" in told.out + told.err
    assert "operation '_Anchors' is a custom operation" in told.out + told.err
    assert "plugins: {_Anchors: {name: Anchors}}" in told.out + told.err
    assert "Traceback" not in told.err
