"""A network of which one layer is lost in int8: what the comparison says of it is what the documentation shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.debugging.failing_models import needs_rtx
from tests.projects import make_project
from tests.rescaled_digits import write_rescaled
from trtpipe.cli.debugging.compare import compare_command
from trtpipe.errors import SpecError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "debugging.md"

pytestmark = needs_rtx

SPEC = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants:
  int8: {precision: int8, calibration: digits-calib}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets: {ada: {gpu: sm89}}
validate: {data: digits-val}
"""


@pytest.mark.slow
def test_the_layer_that_is_lost_is_the_first_divergence(tmp_path, monkeypatch, capsys):
    make_project(tmp_path, SPEC)
    write_rescaled(tmp_path / "models" / "digits.onnx")
    shutil.copytree(ROOT / "calibration", tmp_path / "calibration")
    monkeypatch.chdir(tmp_path)
    (shown,) = re.findall(r"\$ trtpipe debug compare digits/int8@ada\n(.*?)```", DOCS.read_text(), re.S)

    assert compare_command("digits/int8@ada", [], samples=None, as_json=False) == 0

    printed = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line not in printed.splitlines()] == []


def test_a_cell_without_data_is_told_what_to_give(refused, monkeypatch):
    monkeypatch.chdir(refused)

    with pytest.raises(SpecError, match="no data to compare on") as told:
        compare_command("net/fp16", [], samples=None, as_json=False)

    assert "`validate`" in told.value.problems[0].remedy
