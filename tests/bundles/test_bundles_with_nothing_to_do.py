"""A bundle with nothing to do is told by its stamp, and every file that matters to it breaks the stamp."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.bundles.conftest import copied
from tests.projects import Project
from tests.timing.counts import counted
from trtpipe.building.stamp import is_unchanged

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason="not run: needs a tensorrt_rtx wheel"
    ),
]
RECORDED = """\
def run(models, inputs):
    found = models.det(image=inputs["det.image"])
    probs = models.cls(crop=found["crop"])["probs"]
    logits = models.rec(x=found["crop"], prior=probs)["logits"]
    return {"det.score": found["score"], "cls.probs": probs, "rec.logits": logits}
"""
WATCHED = [
    "trtpipe.yaml",
    "trtpipe.lock",
    "pipelines/ocr.yaml",
    "pipelines/ocr-rec.yaml",
    "pipelines/other.yaml",
    "pipelines/models/recogniser.onnx",
    "pipelines/models/digits.txt",
    "drivers/ocr.py",
    "drivers/tables/one.txt",
    "golden.npz",
    "calibration/ocr.npz",
    "build/ocr/bundle.json",
    "build/ocr/summary.md",
    "build/ocr.rec/fp16@ada/model.engine",
]
APPEARING = ["ocr", "pipelines/new.yaml", "drivers/tables/two.txt"]


@pytest.fixture(scope="module")
def settled(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A bundle with a driver, a recording and labels, after its build."""
    project = copied(tmp_path_factory.mktemp("settled") / "ocr", built.root)
    project.env["TRTPIPE_ALLOW_PROJECT_CODE"] = "1"
    project.write("drivers/ocr.py", RECORDED)
    project.write("drivers/tables/one.txt", "1")
    project.write("pipelines/other.yaml", "# not a spec yet\n")
    (project.root / "golden.npz").write_bytes((project.root / "build/ocr/golden.npz").read_bytes())
    project.edit(
        "pipelines/ocr.yaml", "outputs: [cls.probs]", "python: drivers.ocr:run\nfiles: [drivers/tables/*.txt]"
    )
    project.edit("pipelines/ocr.yaml", "  data: ocr-e2e", "  golden: golden.npz")
    done = project.run("build", "ocr")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def root(settled: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(settled.root)
    monkeypatch.delenv("TRTPIPE_STORE", raising=False)
    return settled.root


def test_a_bundle_with_nothing_to_do_opens_its_stamp_alone(settled: Project) -> None:
    assert settled.run("build", "ocr").out == "nothing to do\n"

    found = counted(settled.root, "build", "ocr", store="")

    assert (found["opened"], found["processes"], found["fsyncs"]) == (1, 0, 0), found
    assert found["modules"] < 160


@pytest.mark.parametrize("name", WATCHED)
def test_a_file_that_changed_breaks_the_stamp(root: Path, name: str) -> None:
    path = root / name
    text, was = path.read_bytes(), path.stat()

    path.write_bytes(text + b"\n")
    assert not is_unchanged(["ocr"], [])

    path.write_bytes(text)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert is_unchanged(["ocr"], [])


@pytest.mark.parametrize("name", APPEARING)
def test_a_file_that_appears_breaks_the_stamp(root: Path, name: str) -> None:
    path = root / name
    was = path.parent.stat()

    path.write_bytes(b"")
    assert not is_unchanged(["ocr"], [])

    path.unlink()
    os.utime(path.parent, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert is_unchanged(["ocr"], [])
