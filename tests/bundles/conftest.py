"""The example of a bundle, copied and cut down to one target; and built once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.projects import Project

EXAMPLE = Path(__file__).parent / "project"
TARGETS = """\
schema: 1
targets:
  ada: {gpu: sm89}
builder: {workspace: 1GiB}
"""


def copied(root: Path, source: Path = EXAMPLE) -> Project:
    """The example in a directory of its own, for sm89 only."""
    shutil.copytree(source, root)
    project = Project(root)
    if source == EXAMPLE:
        project.write("trtpipe.yaml", TARGETS)
    return project


@pytest.fixture
def example(tmp_path: Path) -> Project:
    return copied(tmp_path / "ocr")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built once, the bundle only; tests that change it work on a copy."""
    project = copied(tmp_path_factory.mktemp("built") / "ocr")
    done = project.run("build", "ocr")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def copy(built: Project, tmp_path: Path) -> Project:
    project = copied(tmp_path / "ocr", built.root)
    assert project.run("build", "ocr").code == 0  # a copied project counts as another one
    return project
