"""Which project a spec belongs to, and which specs a command means."""

from pathlib import Path

import pytest

from tests.loader.spec_workspace import Workspace
from trtpipe.errors import SpecError
from trtpipe.loader.project import find_pipelines, find_project, find_root, load_project
from trtpipe.spec.store import StoreSpec


@pytest.mark.parametrize("marker", ["trtpipe.yaml", "trtpipe.lock"])
def test_the_nearest_marked_directory_is_the_root(workspace: Workspace, marker: str) -> None:
    workspace.write(marker, "schema: 1\n")
    workspace.write(f"inner/{marker}", "schema: 1\n")
    spec = workspace.write("inner/pipelines/deep/net.yaml", "")

    assert find_root(spec) == workspace.root / "inner"


def test_without_a_mark_the_parent_of_pipelines_is_the_root(workspace: Workspace) -> None:
    spec = workspace.write("proj/pipelines/ocr/net.yaml", "")

    assert find_root(spec) == workspace.root / "proj"
    assert find_root(workspace.root / "proj/pipelines") == workspace.root / "proj"


def test_a_data_set_belongs_to_the_parent_of_calibration(workspace: Workspace) -> None:
    assert find_root(workspace.write("proj/calibration/set.yaml", "")) == workspace.root / "proj"


def test_a_lone_spec_is_its_own_project(workspace: Workspace) -> None:
    assert find_root(workspace.write("somewhere/net.yaml", "")) == workspace.root / "somewhere"


def test_a_relative_start_is_understood(workspace: Workspace) -> None:
    workspace.write("proj/pipelines/net.yaml", "")

    assert find_root(Path("proj/pipelines/net.yaml")) == workspace.root / "proj"


def test_a_way_around_leads_to_the_same_root(workspace: Workspace) -> None:
    workspace.write("here/trtpipe.yaml", "schema: 1\n")
    workspace.write("there/net.yaml", "")

    assert find_root(workspace.root / "here/../there/net.yaml") == workspace.root / "there"


def test_a_project_without_a_file_has_no_defaults(workspace: Workspace) -> None:
    project = find_project(workspace.root)

    assert (project.spec, project.document) == (None, None)


def test_a_wrong_project_file_is_told_everything(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", "schema: 1\nreach: /data\nstore: {dir: x}\n")

    assert workspace.refusal(lambda: load_project(workspace.root)) == (
        "trtpipe.yaml:2:8: 'reach' must be a list, not the text '/data'\n"
        "    reach: /data\n"
        "           ^\n"
        "  write it as a list: [/data]\n"
        "trtpipe.yaml:3:9: unknown key 'dir'\n"
        "    store: {dir: x}\n"
        "            ^\n"
        f"  valid keys: {', '.join(StoreSpec.model_fields)}\n"
    )


def test_data_sets_are_the_files_of_calibration(workspace: Workspace) -> None:
    workspace.write("calibration/b.yaml", "")
    workspace.write("calibration/a.yml", "")
    workspace.write("calibration/README.md", "")

    project = find_project(workspace.root)

    assert list(project.datasets) == ["a", "b"]
    assert project.dataset("a") == workspace.root / "calibration/a.yml"
    with pytest.raises(SpecError, match="no data set 'c'"):
        project.dataset("c")


def found(args: list[str], cwd: Path) -> list[str]:
    return [path.relative_to(cwd).as_posix() for path in find_pipelines(args, cwd)]


def test_without_arguments_all_of_pipelines_is_meant(workspace: Workspace) -> None:
    for name in ("b.yaml", "a.yml", "notes.txt", "sub/c.yaml"):
        workspace.write(f"pipelines/{name}", "")

    assert found([], workspace.root) == ["pipelines/a.yml", "pipelines/b.yaml"]


def test_without_pipelines_the_one_spec_here_is_meant(workspace: Workspace) -> None:
    workspace.write("compose.yaml", "services: {}\n")
    workspace.write("trtpipe.yaml", "schema: 1\n")
    workspace.write("net.yaml", "schema: 1\npipeline: net\n")

    assert found([], workspace.root) == ["net.yaml"]


def test_below_a_project_its_pipelines_are_meant(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", "schema: 1\n")
    spec = workspace.write("pipelines/net.yaml", "")

    assert find_pipelines([], workspace.root / "models") == [spec]
    assert find_pipelines([], workspace.root / "pipelines") == [spec]


def test_several_specs_here_must_be_named(workspace: Workspace) -> None:
    workspace.write("a.yaml", "pipeline: a\n")
    workspace.write("b.yaml", "pipeline: b\n")

    assert workspace.refusal(lambda: find_pipelines([], workspace.root)) == (
        "several pipelines are possible\n  name one or more of a.yaml, b.yaml, or '.' for all\n"
    )


def test_nothing_here_leads_to_init(workspace: Workspace) -> None:
    assert workspace.refusal(lambda: find_pipelines([], workspace.root)) == (
        "no pipeline here\n  name a spec, or write one: trtpipe init MODEL\n"
    )


def test_files_and_directories_may_be_named_each_counted_once(workspace: Workspace) -> None:
    workspace.write("pipelines/a.yaml", "")
    workspace.write("pipelines/b.yaml", "")
    workspace.write("other.yaml", "")

    assert found(["pipelines/b.yaml", "pipelines", "other.yaml"], workspace.root) == [
        "pipelines/b.yaml",
        "pipelines/a.yaml",
        "other.yaml",
    ]


def test_everything_that_is_not_there_is_said_at_once(workspace: Workspace) -> None:
    workspace.write("pipelines/digits.yaml", "")

    said = workspace.refusal(
        lambda: find_pipelines(["pipelines/digit.yaml", "digits.yaml", "models"], workspace.root)
    )

    assert said == (
        "no such spec: 'pipelines/digit.yaml'\n"
        "  did you mean 'pipelines/digits.yaml'?\n"
        "no such spec: 'digits.yaml'\n"
        "  did you mean 'pipelines/digits.yaml'?\n"
        "no specs in 'models'\n"
        "  a spec is a file named *.yaml or *.yml\n"
    )
