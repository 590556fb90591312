"""The README's examples are specs that the tool takes."""

from __future__ import annotations

import re

import jsonschema
import pytest
import yaml

from tests.markdown_pages import ROOT, blocks_of
from tests.schemas import whole_schema
from trtpipe.loader.schema import dataset_schema

BLOCKS = [one.text for one in blocks_of(ROOT / "README.md", "yaml")]


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: text.split("\n")[1])
def test_every_spec_of_the_readme_fits_its_schema(text):
    spec = yaml.safe_load(text)
    if "sha256" in spec.get("model", {}):
        spec["model"]["sha256"] = "0" * 64  # shortened there
    schema = whole_schema() if "model" in spec else dataset_schema()

    wrong = [one.message for one in jsonschema.Draft202012Validator(schema).iter_errors(spec)]

    assert wrong == []


def test_every_command_of_the_readme_exists():
    from typer.main import get_command

    from trtpipe.cli.main import app

    named = set(re.findall(r"^\| `trtpipe (\w+)", (ROOT / "README.md").read_text(), re.M))

    assert named == set(get_command(app).commands)
