"""docs/tutorial.md, done step by step in one project: each command runs, and prints what the page shows."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.endtoend.page_reader import PageReader
from tests.markdown_pages import ROOT, blocks_of
from tests.projects import BASE_INSTALL

PAGE = ROOT / "docs" / "tutorial.md"


def test_every_command_of_the_tutorial_prints_what_the_page_shows(tmp_path):
    reader = PageReader(tmp_path / "project", tmp_path, [BASE_INSTALL])
    blocks = blocks_of(PAGE, "console", "yaml", "yml")
    assert len(blocks) > 10

    for block in blocks:
        if block.language == "console":
            reader.follow(block)
        else:
            reader.save(block.text)
    reader.type(f"git clone --quiet . {tmp_path / 'checkout'}")
    machine = PageReader(tmp_path / "checkout", tmp_path, [BASE_INSTALL])  # the one of the workflow

    for step in yaml.safe_load(blocks[-1].text)["jobs"]["engines"]["steps"]:
        if "run" in step and not step["run"].startswith("pip install"):
            printed = machine.type(step["run"])
            assert machine.code == 0, printed
    assert "digits/fp16@ada" in Path(machine.environment["GITHUB_STEP_SUMMARY"]).read_text()
