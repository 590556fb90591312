"""Projects, empty, built and real, for the tests of the command."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.endtoend import zoo
from tests.projects import Project, make_project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = importlib.util.find_spec("tensorrt_rtx") is None
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.engine)
            if missing:
                item.add_marker(pytest.mark.skip(reason="not run: needs a tensorrt_rtx wheel"))


@pytest.fixture(scope="session")
def new_project() -> Callable[..., Project]:
    """Makes an empty project: `new_project(root, environment)`."""

    def make(root: Path, env: Mapping[str, str] | None = None) -> Project:
        root.mkdir(parents=True)
        return Project(root, dict(env or {}))

    return make


@pytest.fixture(scope="session")
def real(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The real models, built for sm89 in fp32 and fp16; tests that change it work on a copy."""
    project = new_project(tmp_path_factory.mktemp("real") / "project")
    for model in zoo.MODELS:
        zoo.add_model(project.root, model)
    done = project.run("build")
    assert done.code == 0, done.err
    assert done.out.startswith("built 8 engines in ")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was built once; tests that change it work on a copy."""
    project = make_project(tmp_path_factory.mktemp("built") / "project")
    done = project.run("build")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def copy(built: Project, tmp_path: Path) -> Project:
    """A copy of the built project, store and build directory included."""
    shutil.copytree(built.root, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")
