"""Bundle files: what is read, what names mean, and what hostile ones are told."""
# ruff: noqa: E501 (a row is as long as what it says)

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.bundles.conftest import EXAMPLE
from tests.loader.spec_workspace import KNOWN
from tests.projects import Project
from trtpipe.errors import SpecError
from trtpipe.loader.all_specs import load_all
from trtpipe.loader.bundles import LoadedBundle, in_order
from trtpipe.spec.bundle import port
from trtpipe.workspace.workspace import open_workspace

BUNDLE = "pipelines/ocr.yaml"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "ocr")
    monkeypatch.chdir(tmp_path / "ocr")
    return tmp_path / "ocr"


def rewritten(root: Path, old: str, new: str) -> None:
    text = (root / BUNDLE).read_text()
    assert old in text
    (root / BUNDLE).write_text(text.replace(old, new))


def loaded(root: Path) -> LoadedBundle:
    found = load_all([root / BUNDLE], KNOWN)
    assert found.problems == []
    (bundle,) = found.bundles
    return bundle


def told(root: Path) -> list[str]:
    return [f"{one.where}: {one.fact}" for one in load_all([root / BUNDLE], KNOWN).problems]


def test_a_bundle_brings_the_pipelines_that_it_needs(root: Path) -> None:
    bundle = loaded(root)

    assert sorted(bundle.pipelines) == ["ocr-cls", "ocr-det", "ocr-rec"]
    assert bundle.targets == ("ampere", "ada", "blackwell")
    assert bundle.joined == ("rec",)
    assert bundle.cells_of("det", "ada") == ("ocr-det/fp16@ada",)
    assert bundle.cells_of("rec", "ada") == ("ocr.rec/fp16@ada",)
    assert in_order(bundle.spec) == ["det", "cls", "rec"]
    assert {glob: path.name for glob, path in bundle.label_files().items()} == {"rec.logits": "digits.txt"}


def test_a_tensor_may_have_dots_and_a_member_has_none() -> None:
    assert port("det.sigmoid_0.tmp_0") == ("det", "sigmoid_0.tmp_0")


def test_members_without_variants_may_be_any_of_their_pipeline(root: Path) -> None:
    rewritten(root, "det: {pipeline: ocr-det, variants: [fp16]}", "det: ocr-det")

    assert loaded(root).cells_of("det", "ada") == ("ocr-det/fp16@ada", "ocr-det/fp32@ada")


def test_a_cell_as_a_member_serves_every_target(root: Path) -> None:
    rewritten(root, "cls: ocr-cls/fp16", "cls: ocr-cls/fp16@ada")

    assert loaded(root).cells_of("cls", "blackwell") == ("ocr-cls/fp16@ada",)


@pytest.mark.parametrize("arguments", [["ocr"], [BUNDLE]], ids=["by name", "by file"])
def test_a_command_about_a_bundle_is_about_its_cells(root: Path, arguments: list[str]) -> None:
    workspace = open_workspace(arguments)

    assert [one.name for one in workspace.whole_bundles] == ["ocr"]
    assert workspace.wants("ocr.rec/fp16@ada")
    assert not workspace.wants("ocr-rec/fp16@ada"), "that is the pipeline's own"
    assert not workspace.wants("ocr-det/fp32@ada"), "no member may be that"


def test_only_takes_a_bundles_name_beside_globs_of_cells(root: Path) -> None:
    whole, part = open_workspace([], ["ocr"]), open_workspace([], ["ocr-det/*@ada"])

    assert [one.name for one in whole.whole_bundles] == ["ocr"]
    assert whole.wants("ocr-cls/fp16@ada")
    assert part.whole_bundles == ()
    assert not part.wants("ocr-cls/fp16@ada")


def test_without_arguments_everything_is_meant(root: Path) -> None:
    workspace = open_workspace([])

    assert [one.name for one in workspace.whole_bundles] == ["ocr"]
    assert workspace.wants("ocr-det/fp32@ada")


def test_a_file_that_is_neither_is_told_both_kinds(root: Path) -> None:
    (root / BUNDLE).write_text("schema: 1\n")

    assert told(root)[0].endswith("ocr.yaml:1:1: missing key 'pipeline' or 'bundle'")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("det: {pipeline: ocr-det, variants: [fp16]}", "det: ocr", "5:8: member 'det' is the bundle itself, not a pipeline"),
        ("det: {pipeline: ocr-det, variants: [fp16]}", "det: ../ocr-det", "5:8: not a name: '..'"),
        ("[cls.crop, rec.x]", "[cls.crop, cls.crop]", "9:24: two edges lead into 'cls.crop': from 'det.crop' and 'det.crop'"),
        ("[cls.crop, rec.x]", "[cls.crop, det.image]", "9:24: the edges lead in a circle: det → det"),
        ("[cls.crop, rec.x]", "[]", "9:13: 'det.crop' is empty"),
        ("outputs: [cls.probs]", "python: '../outside:run'", "11:9: not a function: '../outside:run'"),
        ("outputs: [cls.probs]", "python: nowhere.at_all:run", "11:9: no such file: 'nowhere/at_all.py'"),
        ("labels: {rec.logits: pipelines/models/digits.txt}", "labels: /etc/passwd", "12:9: '/etc/passwd' is outside the project"),
        ("data: ocr-e2e", "golden: ../golden.npz", "14:11: '../golden.npz' is outside the project"),
        ("data: ocr-e2e", "data: ../ocr-e2e", "14:9: no data set '../ocr-e2e': there is no calibration/../ocr-e2e.yaml"),
    ],
    ids=["itself", "a path as pipeline", "two into one", "a loop of one", "no consumer", "a path as driver", "no driver",
         "labels outside", "a recording outside", "a path as data set"],
)  # fmt: skip
def test_what_a_bundle_may_not_say(root: Path, old: str, new: str, said: str) -> None:
    rewritten(root, old, new)

    assert any(one.endswith(f"{BUNDLE}:{said}") for one in told(root)), told(root)


def test_huge_lists_are_refused_before_anything_is_made_of_them(root: Path) -> None:
    many = "".join(f"  m{number}: ocr-det\n" for number in range(70))
    rewritten(root, "  cls: ocr-cls/fp16\n", f"  cls: ocr-cls/fp16\n{many}")

    assert any("'members' has more than 64 items" in one for one in told(root))


def test_a_link_that_leads_out_is_not_followed_to_a_driver(root: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("def run(models, inputs): ...\n")
    (root / "drive.py").symlink_to(tmp_path / "evil.py")
    rewritten(root, "outputs: [cls.probs]", "python: drive:run")

    assert any("'drive.py' is outside the project" in one for one in told(root))


def test_a_broken_pipeline_is_told_once_and_the_bundle_says_nothing_more(root: Path) -> None:
    (root / "pipelines/ocr-cls.yaml").write_text(
        "schema: 1\npipeline: ocr-cls\nmodel: {sauce: x}\ntargets: {ada: {gpu: sm89}}\n"
    )

    assert all("ocr-cls.yaml" in one for one in told(root))


def test_a_project_without_bundles_imports_nothing_of_them() -> None:
    import subprocess
    import sys

    code = (
        "import sys, trtpipe.cli.build_run, trtpipe.checks.check, trtpipe.workspace.workspace as w\n"
        "assert w.open_workspace(['pipelines/ocr-det.yaml']).bundles == ()\n"
        "print(sorted(one for one in sys.modules if 'bundle' in one or 'packaging' in one and 'trtpipe' in one))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLE, capture_output=True, text=True, check=True
    )

    assert "trtpipe.spec.bundle" not in done.stdout
    assert "trtpipe.spec.packaging" not in done.stdout
    assert "trtpipe.loader.bundles" not in done.stdout


def test_an_unknown_bundle_is_no_spec(root: Path) -> None:
    with pytest.raises(SpecError, match="no such spec: 'ocs'"):
        open_workspace(["ocs"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cast: float16", "cast: string", "unknown cast 'string'"),
        ("variants: [fp16]}\n  cls", "variants: []}\n  cls", "'variants' is empty"),
        ("outputs: [cls.probs]", "targets: []", "'targets' is empty"),
        ("outputs: [cls.probs]", "outputs: [cls.probs, cls.probs]", "output 'cls.probs' is listed twice"),
        ("[-1, 1, 2]", f"[{'1, ' * 5000}-1]", "has more than 8 items"),
        ("[cls.crop, rec.x]", f"[{', '.join(f'cls.x{i}' for i in range(3000))}]", "has more than 1024 items"),
    ],
)
def test_what_no_bundle_can_mean_is_one_short_error(example: Project, old: str, new: str, said: str) -> None:
    example.edit("pipelines/ocr.yaml", old, new)

    done = example.run("check", "ocr")

    assert done.code == 2
    assert said in done.err
    assert done.err.endswith("1 error\n") and len(done.err) < 2500
