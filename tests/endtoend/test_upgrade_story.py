"""A TensorRT upgrade beside what is built. The older version is the installed one under another name."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from trtpipe.toolchains.provision import folder_name

OLD = "1.6.9.9"
PARTS = ("", "_bindings", "_libs")
SPEC = f"""\
schema: 1
pipeline: digits
model: {{source: models/digits.onnx}}
variants:
  fp32: {{}}
  fp16: {{precision: fp16}}
profiles:
  - image: {{min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}}
targets:
  ada: {{gpu: sm89, toolchain: rtx}}
  turing: {{gpu: sm75, toolchain: rtx}}
  blackwell: {{gpu: sm120}}
toolchains:
  rtx:
    flavour: tensorrt_rtx
    version: "{OLD}"
"""


def provision_stand_in(root, version):
    """An environment whose packages say another version and whose modules are the installed ones."""
    installed = Path(importlib.util.find_spec("tensorrt_rtx").origin).parents[1]
    folder = root / folder_name("tensorrt_rtx", version)
    folder.mkdir(parents=True)
    libraries = {f"tensorrt_rtx_cu13{part}": version for part in PARTS}
    for name in libraries:
        about = folder / f"{name}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for part in PARTS:
        (folder / f"tensorrt_rtx{part}").symlink_to(installed / f"tensorrt_rtx{part}")
    about = {"schema": 1, "flavour": "tensorrt_rtx", "version": version, "python": "", "libraries": libraries}
    (folder / "manifest.json").write_text(json.dumps({**about, "wheels": [], "files": {}, "nbytes": 0}))


def untouched(project):
    """The old build, its lockfile and specs: names and bytes."""
    kept = [
        project.root / "trtpipe.lock",
        *(project.root / "build").rglob("*"),
        *(project.root / "pipelines").iterdir(),
    ]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept if path.is_file()}


@pytest.fixture(scope="module")
def old(new_project, tmp_path_factory):
    """A project built with the older version, but for its Turing cells."""
    root = tmp_path_factory.mktemp("upgrade")
    provision_stand_in(root / "toolchains", OLD)
    project = new_project(root / "project", {"TRTPIPE_TOOLCHAINS": str(root / "toolchains")})
    (project.root / "models").mkdir()
    digits = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "digits_cnn.onnx"
    shutil.copy(digits, project.root / "models" / "digits.onnx")
    project.write("pipelines/digits.yaml", SPEC)
    done = project.run("build", "--only", "*@ada")
    assert done.code == 0, done.err
    return project


@pytest.fixture(scope="module")
def upgraded(old):
    """The upgrade to the installed version, what it printed, and what was there before."""
    before = untouched(old)
    done = old.run("upgrade", metadata.version("tensorrt-rtx-cu13"), "--output", "beside")
    return done, before, json.loads((old.root / "beside" / "upgrade.json").read_bytes())


def test_each_cell_is_built_as_far_as_it_comes_and_failures_come_first(upgraded):
    done, _, record = upgraded

    assert done.code == 1
    assert [(row["cell"], row["status"]) for row in record["cells"]] == [
        ("digits/fp32@turing", "failed"),
        ("digits/fp16@turing", "not compared"),
        ("digits/fp16@ada", "same"),
        ("digits/fp32@ada", "same"),
    ]
    assert "no float32 matrix product for sm75" in record["cells"][0]["problems"][0]
    assert "4 cells: 1 failed, 1 not compared, 2 same" in done.out


def test_nothing_of_the_old_version_is_touched(old, upgraded):
    assert untouched(old) == upgraded[1]
    assert old.run("build", "--only", "*@ada").out == "nothing to do\n"


def test_the_new_engines_and_lockfile_lie_beside(old, upgraded):
    folder = old.root / "beside"
    manifest = json.loads((folder / "build" / "digits" / "fp16@ada" / "manifest.json").read_bytes())

    assert manifest["toolchain"]["version"] == metadata.version("tensorrt-rtx-cu13")
    assert f"tensorrt_rtx {OLD}" not in (folder / "trtpipe.lock").read_text()
    assert not (folder / "build" / "digits" / "fp32@turing").exists()


def test_the_lines_to_change_are_named_with_their_place(upgraded):
    installed = metadata.version("tensorrt-rtx-cu13")

    assert upgraded[2]["changes"] == [
        f'pipelines/digits.yaml:16: version: "{OLD}" becomes version: "{installed}"'
    ]


def test_a_cell_that_is_there_already_is_noted_and_not_built(upgraded):
    (note,) = [one for one in upgraded[2]["notes"] if "already" in one]

    assert "digits/fp16@blackwell" in note


def test_the_comparison_is_there_as_markdown_and_as_a_page(old, upgraded):
    markdown = (old.root / "beside" / "upgrade.md").read_text()
    page = (old.root / "beside" / "upgrade.html").read_text()

    for text in (markdown, page):
        assert "digits/fp32@turing" in text
        assert "no float32 matrix product" in text
    assert str(old.root) not in markdown + page


def test_running_it_again_builds_nothing_and_finds_the_same(old, upgraded):
    _, _, record = upgraded

    done = old.run("upgrade", metadata.version("tensorrt-rtx-cu13"), "--output", "beside", "--json")

    assert json.loads(done.out) == record
    assert "done " not in done.err


def test_an_upgrade_that_makes_nothing_worse_ends_with_0(old, tmp_path):
    done = old.run(
        "upgrade", metadata.version("tensorrt-rtx-cu13"), "--only", "*@ada", "-o", str(tmp_path / "new")
    )

    assert done.code == 0, done.err
    assert "2 cells: 2 same" in done.out


def test_a_version_that_every_cell_has_already_is_nothing_to_do(old):
    done = old.run("upgrade", "rtx", "--only", "*@ada")

    assert done.code == 0
    assert done.out == f"nothing to upgrade: every cell is on TensorRT-RTX {OLD} already\n"
    assert not (old.root / "upgrade").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rtx-1.8"], "no toolchain 'rtx-1.8'"),
        (["1.7"], "'1.7' is not a whole version"),
        (["tensorrt-11.0.0.1"], "no target builds with tensorrt"),
        (["1.7.1.116", "--output", "."], "contains other files"),
        (["1.7.1.116", "--output", "build/x"], "contains other files"),
        (["1.7.1.116", "--output", "models"], "contains other files"),
        (["1.7.1.116", "--output", "trtpipe.lock"], "cannot write to"),
        (["9.9.9.9", "--offline", "--only", "*@ada"], "--offline forbids fetching it"),
    ],
)
def test_what_cannot_be_done_is_refused_and_touches_nothing(old, arguments, said):
    before = untouched(old)

    done = old.run("upgrade", *arguments)

    assert done.code in (1, 2)
    assert said in done.err + done.out
    assert "Traceback" not in done.err
    assert untouched(old) == before


DOCS = Path(__file__).resolve().parents[2] / "docs" / "upgrading.md"


@pytest.mark.parametrize("line", re.findall(r"^trtpipe (toolchain .+)$", DOCS.read_text(), re.M))
def test_every_example_about_toolchains_works(old, line):
    done = old.run(*line.split())

    assert done.code in (0, 1), done.err  # the stand-in has no RECORD to be verified by
    assert f"tensorrt_rtx-{OLD}" in done.out


def test_the_documentations_spec_is_one(old):
    (spec,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.S)
    old.write("spare/digits.yaml", spec.replace("pipelines/models/digits_cnn.onnx", "models/digits.onnx"))

    done = old.run("check", "spare/digits.yaml")

    assert done.code == 0, done.err
    assert "ok digits/fp32@ampere" in done.out
