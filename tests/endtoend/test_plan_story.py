"""`plan` says what `build` will do, failures by limits included."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.engine

CELL = "digits/fp16@ada"


def test_a_threshold_that_a_cell_misses_is_foreseen_with_limit_and_value(project):
    with (project.root / "pipelines/digits.yaml").open("a") as file:
        file.write("validate: {random: {samples: 2}, thresholds: [{metric: snr, min: 20}]}\n")
    before = project.run("plan", "--only", CELL, "--exit-code")
    built = project.run("build", "--only", CELL)
    after = project.run("plan", "--only", CELL, "--exit-code")
    project.edit("pipelines/digits.yaml", "min: 20", "min: 90")

    planned = project.run("plan", "--only", CELL, "--exit-code")
    as_json = json.loads(project.run("plan", "--only", CELL, "--json").out)
    failed = project.run("build", "--only", CELL)

    assert (before.code, built.code, after.code) == (1, 0, 0), (before.err, built.err, after.err)
    assert planned.code == 1
    assert f"{CELL} would fail: " in planned.err
    assert "90" in planned.err
    assert failed.code == 1
    foreseen = as_json["would_fail"][CELL]
    assert foreseen
    for problem in foreseen:
        assert problem in failed.err
        assert problem in planned.err


@pytest.mark.slow
def test_a_threshold_that_a_cell_keeps_is_judged_again_and_fails_nothing(project):
    with (project.root / "pipelines/digits.yaml").open("a") as file:
        file.write("validate: {random: {samples: 2}, thresholds: [{metric: snr, min: 20}]}\n")
    project.run("build", "--only", CELL)
    project.edit("pipelines/digits.yaml", "min: 20", "min: 21")

    planned = project.run("plan", "--only", CELL, "--exit-code")

    assert planned.code == 0, planned.err
    assert "would fail" not in planned.err
    assert f"to be delivered: {CELL}" in planned.out
