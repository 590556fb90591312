"""Every set of docs/data.md is one that can be made and looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from trtpipe.cli.main import app
from trtpipe.loader.schema import dataset_schema
from trtpipe.spec.dataset import SOURCES, DatasetSpec, InputSpec, ResizeSpec

pytest.importorskip("PIL")
pytest.importorskip("pyarrow")

TEXT = (Path(__file__).resolve().parents[2] / "docs/data.md").read_text()
(SCRIPT,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
SETS = dict(re.findall(r"```yaml\n# (calibration/[\w-]+\.yaml)\n(.*?)```", TEXT, re.S))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, check=True)
    for name, text in SETS.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", SETS)
def test_it_can_be_looked_at(made, monkeypatch, name):
    monkeypatch.chdir(made)
    jsonschema.Draft202012Validator(dataset_schema()).validate(yaml.safe_load(SETS[name]))

    done = CliRunner().invoke(app, ["data", "preview", Path(name).stem, "--json"])

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["samples"] >= 4


def test_every_source_and_every_field_of_images_is_told():
    fields = [name for model in (DatasetSpec, InputSpec, ResizeSpec) for name in model.model_fields]

    assert {name for name in (*SOURCES, *fields) if not re.search(rf"\b{name.rstrip('_')}\b", TEXT)} == set()
