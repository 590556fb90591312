"""Models and data are read from the project, its reach and installed packages, and from nowhere else."""

import sys
from pathlib import Path

import pytest

from tests.loader.spec_workspace import Workspace
from trtpipe.errors import SpecError
from trtpipe.loader.project import find_project


def resolved(workspace: Workspace, text: str) -> Path:
    return find_project(workspace.root).resolve_source(text, ("model", "source"))


def refusal(workspace: Workspace, text: str) -> str:
    return workspace.refusal(lambda: resolved(workspace, text))


def test_a_path_starts_at_the_root(workspace: Workspace) -> None:
    assert resolved(workspace, "models/net.onnx") == (workspace.root / "models/net.onnx").resolve()
    assert resolved(workspace, "pipelines/../models/./net.onnx").name == "net.onnx"


def test_an_absolute_path_inside_the_project_is_taken(workspace: Workspace) -> None:
    assert resolved(workspace, str(workspace.root / "models/net.onnx")).name == "net.onnx"


@pytest.mark.parametrize("text", ["../other/net.onnx", "/etc/passwd", "models/../../other/net.onnx"])
def test_what_lies_outside_is_refused(workspace: Workspace, text: str) -> None:
    said = refusal(workspace, text)

    assert said.startswith(
        f"{text!r} is outside the project\n  copy it into the project, or allow its directory"
    )
    assert "in trtpipe.yaml: reach: [" in said


def test_a_link_that_leads_outside_is_refused(workspace: Workspace) -> None:
    outside = workspace.root.parent / f"{workspace.root.name}-outside"
    outside.mkdir()
    (outside / "net.onnx").write_text("")
    (workspace.root / "models/link.onnx").symlink_to(outside / "net.onnx")
    (workspace.root / "linked").symlink_to(outside)

    assert "'models/link.onnx' is outside the project" in refusal(workspace, "models/link.onnx")
    assert "'linked/net.onnx' is outside the project" in refusal(workspace, "linked/net.onnx")


def test_a_link_within_the_project_is_followed(workspace: Workspace) -> None:
    (workspace.root / "models/link.onnx").symlink_to("net.onnx")

    assert resolved(workspace, "models/link.onnx").name == "net.onnx"


@pytest.mark.parametrize("how", ["absolute", "relative"])
def test_reach_opens_a_directory_outside(workspace: Workspace, how: str) -> None:
    zoo = workspace.root.parent / f"{workspace.root.name}-zoo"
    zoo.mkdir()
    (zoo / "net.onnx").write_text("")
    reach = str(zoo) if how == "absolute" else f"../{zoo.name}"
    workspace.write("trtpipe.yaml", f"schema: 1\nreach: ['{reach}']\n")

    assert resolved(workspace, f"../{zoo.name}/net.onnx") == zoo.resolve() / "net.onnx"
    assert "is outside the project" in refusal(workspace, f"../{zoo.name}s/net.onnx")


def test_a_missing_file_is_told_with_its_neighbours(workspace: Workspace) -> None:
    assert refusal(workspace, "models/net_haed.onnx") == (
        "no such file: 'models/net_haed.onnx'\n"
        "  did you mean 'models/net_head.onnx'? 'models' holds: net.onnx, net_head.onnx\n"
    )


def test_a_missing_directory_is_told_with_its_neighbours(workspace: Workspace) -> None:
    assert refusal(workspace, "modles/net.onnx") == (
        "no such file: 'modles/net.onnx'\n  did you mean 'models'? the project holds: models\n"
    )


def test_a_directory_is_no_model(workspace: Workspace) -> None:
    assert (
        refusal(workspace, "models") == "'models' is a directory\n  'models' holds: net.onnx, net_head.onnx\n"
    )


@pytest.mark.parametrize("scheme", ["https", "http", "s3", "gs", "hf"])
def test_what_is_no_model_is_not_fetched(workspace: Workspace, scheme: str) -> None:
    assert refusal(workspace, f"{scheme}://there/net.npz?sig=secret") == (
        f"only a model and the files of its options may be remote, not '{scheme}://there/net.npz?…'\n"
        "  download the file into the project\n"
    )


def test_an_unknown_scheme_is_refused(workspace: Workspace) -> None:
    assert refusal(workspace, "file:///etc/passwd") == (
        "unknown kind of source: 'file://'\n  write a path inside the project, pkg://PACKAGE/PATH, "
        "or an https://, s3://, gs:// or hf:// address\n"
    )


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "x" * 5000, "models/loop/x"])
def test_odd_paths_are_refused_like_any_other(workspace: Workspace, text: str) -> None:
    (workspace.root / "models/loop").symlink_to("loop")

    with pytest.raises(SpecError):
        resolved(workspace, text)


@pytest.fixture
def package(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package whose import would fail the test."""
    workspace.write("site/model_zoo/__init__.py", "raise AssertionError('it was imported')")
    workspace.write("site/model_zoo/data/det.onnx", "")
    workspace.write("site/lone_module.py", "")
    monkeypatch.syspath_prepend(str(workspace.root / "site"))
    return workspace.root / "site/model_zoo"


def test_a_file_in_a_package_is_found_without_importing_it(workspace: Workspace, package: Path) -> None:
    found = resolved(workspace, "pkg://model_zoo/data/det.onnx")

    assert found == (package / "data/det.onnx").resolve()
    assert "model_zoo" not in sys.modules


def test_a_package_that_is_not_installed_is_told(workspace: Workspace, package: Path) -> None:
    assert refusal(workspace, "pkg://model_zo/data/det.onnx") == (
        "no package 'model_zo' is installed\n  did you mean 'model_zoo'? install it beside trtpipe\n"
    )


def test_a_missing_file_in_a_package_is_told_with_its_neighbours(workspace: Workspace, package: Path) -> None:
    assert refusal(workspace, "pkg://model_zoo/data/dte.onnx") == (
        "no such file in the package 'model_zoo': 'data/dte.onnx'\n"
        "  did you mean 'pkg://model_zoo/data/det.onnx'? 'pkg://model_zoo/data' holds: det.onnx\n"
    )


def test_a_path_cannot_climb_out_of_its_package(workspace: Workspace, package: Path) -> None:
    assert refusal(workspace, "pkg://model_zoo/../lone_module.py") == (
        "'pkg://model_zoo/../lone_module.py' is outside the package 'model_zoo'\n  name a file inside it\n"
    )
    assert "is outside the package" in refusal(workspace, "pkg://model_zoo//etc/passwd")


def test_a_module_holds_no_files(workspace: Workspace, package: Path) -> None:
    assert refusal(workspace, "pkg://lone_module/x") == (
        "'lone_module' is a single module, not a package\n  name a package that contains files\n"
    )


@pytest.mark.parametrize(
    "text", ["pkg://model_zoo", "pkg://model_zoo/", "pkg:///x", "pkg://a.b/x", "pkg://../x"]
)
def test_a_package_source_names_a_top_level_package_and_a_file(
    workspace: Workspace, package: Path, text: str
) -> None:
    assert refusal(workspace, text).startswith(
        f"not a file in a package: {text!r}\n  write pkg://PACKAGE/PATH"
    )


def test_a_problem_carries_its_path_in_the_spec(workspace: Workspace) -> None:
    with pytest.raises(SpecError) as caught:
        resolved(workspace, "nowhere.onnx")

    assert caught.value.problems[0].path == ("model", "source")
